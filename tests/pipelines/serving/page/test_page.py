"""The search page in a browser, as a reader uses it."""

import csv
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

Open = Callable[..., Page]
Shoot = Callable[[Page, str], None]
RIVER = "?q=They+sat+on+the+[bank]+of+the+river"


def rows(page: Page) -> Any:
    return page.locator("#lines tr.line")


def test_an_empty_page_says_what_to_do(open_page: Open, shoot: Shoot) -> None:
    page = open_page()
    expect(page.locator("#welcome")).to_contain_text("Mark the word")
    expect(page.locator("#corpus-facts")).to_contain_text("579 documents")
    shoot(page, "01-empty")


def test_a_word_is_marked_by_clicking_and_lines_of_its_sense_come_first(
    open_page: Open, shoot: Shoot
) -> None:
    page = open_page()
    page.fill("#query", "They sat on the bank of the river")
    words = page.locator("#words button")
    expect(words).to_have_count(8)
    words.filter(has_text="bank").click()
    expect(page.locator("#query")).to_have_value("They sat on the [bank] of the river")
    expect(page.locator("#results-title")).to_contain_text("lines")
    expect(page.locator("#results-title .chip")).to_have_count(1)
    assert "q=They+sat+on+the+%5Bbank%5D" in page.url
    expect(words.filter(has_text="bank")).to_have_attribute("aria-pressed", "true")
    documents = page.locator("#lines td.doc").all_inner_texts()
    assert sum("river" in text or "walk" in text for text in documents) > len(documents) * 0.8
    nodes = page.locator("#lines td.node").evaluate_all(
        "cells => cells.map(cell => Math.round(cell.getBoundingClientRect().x))"
    )
    assert len(set(nodes)) == 1
    shoot(page, "02-lines")


def test_identical_lines_are_folded_and_counted(open_page: Open) -> None:
    page = open_page(RIVER)
    texts = rows(page).evaluate_all(
        "rows => rows.map(row => row.querySelectorAll('td')[1].textContent"
        " + row.querySelectorAll('td')[3].textContent)"
    )
    assert len(texts) == len(set(texts))
    expect(page.locator("#lines .times").first).to_have_text(" ×2")
    page.locator("#lines tr.line:has(.times) .pick").first.click()
    expect(page.locator("tr.detail:visible .facts")).to_contain_text("that read the same")


def test_another_sense_is_unfolded_and_folded(open_page: Open, shoot: Shoot) -> None:
    page = open_page(RIVER)
    fold = page.locator("details.fold").first
    expect(fold.locator("summary")).to_contain_text("per million")
    expect(fold.locator("summary")).to_contain_text(re.compile(r"\d+ occurrences \(\d+ %\)"))
    fold.locator("summary").click()
    expect(fold.locator("tr.line").first).to_be_visible()
    assert "money" in fold.locator("td.doc").first.inner_text()
    expect(page).to_have_url(re.compile("open="))
    shoot(page, "03-unfolded")
    page.reload()
    expect(page.locator("details.fold tr.line").first).to_be_visible()
    page.locator("details.fold summary").first.click()
    expect(page.locator("details.fold tr.line").first).to_be_hidden()
    expect(page).not_to_have_url(re.compile("open="))


def test_weights_are_shaded_with_a_legend_and_a_switch(open_page: Open, shoot: Shoot) -> None:
    page = open_page(RIVER)
    expect(rows(page).first).to_be_visible()
    expect(page.locator("#legend")).to_be_hidden()
    page.get_by_label("Weights").check()
    expect(page.locator("#legend")).to_be_visible()
    assert page.locator("#lines .w7").count() >= 5
    shares = [int(text.rstrip(" %")) for text in page.locator("#words small").all_inner_texts()]
    assert 97 <= sum(shares) <= 103
    shoot(page, "04-weights")
    page.reload()
    expect(page.locator("#lines .w7").first).to_be_visible()
    page.get_by_label("Weights").uncheck()
    expect(page.locator("#lines .w7")).to_have_count(0)


def test_a_word_of_a_line_searches_its_own_sense(open_page: Open) -> None:
    page = open_page(RIVER)
    row = rows(page).filter(has_text="river").first
    row.locator(".word", has_text=re.compile("^river$")).first.click()
    expect(page.locator("#query")).to_have_value(re.compile(r"\[river\]"))
    expect(page.locator("#lines td.node").first).to_have_text("river")


def test_more_and_less_like_a_line(open_page: Open, shoot: Shoot) -> None:
    page = open_page(RIVER)
    rows(page).nth(1).locator(".pick").click()
    chosen = rows(page).nth(1).get_attribute("data-id")
    page.get_by_role("button", name="More like this").click()
    expect(page.locator("#restriction")).to_contain_text("More like 1 line you chose")
    expect(page.locator("#results-title")).to_be_focused()
    expect(page.locator(f'#lines tr.line[data-id="{chosen}"]')).to_have_count(0)
    rows(page).nth(0).locator(".pick").click()
    page.get_by_role("button", name="Less like this").click()
    expect(page.locator("#restriction")).to_contain_text("and less like 1 other")
    shoot(page, "05-more-like-this")
    page.get_by_role("button", name="Back to the query").click()
    expect(page.locator("#restriction")).to_be_hidden()
    expect(page).not_to_have_url(re.compile("like="))


def test_a_search_is_restricted_to_a_sense(open_page: Open) -> None:
    page = open_page(RIVER)
    rows(page).first.locator(".pick").click()
    page.get_by_role("button", name=re.compile("^Only sense")).first.click()
    expect(page.locator("#restriction")).to_contain_text("Only sense")
    expect(page.locator("details.fold")).to_have_count(0)
    page.get_by_role("button", name="All senses").click()
    expect(page.locator("details.fold").first).to_be_visible()


def test_the_map_and_the_lines_point_at_each_other(open_page: Open, shoot: Shoot) -> None:
    page = open_page(RIVER)
    page.get_by_role("button", name="Senses", exact=True).click()
    expect(page.locator("#sense-list section").nth(1)).to_be_visible()
    expect(page.locator("#map")).to_have_attribute("aria-label", re.compile("Map of .* of bank"))
    drawn = page.locator("#map").evaluate(
        "map => new Set(new Uint32Array(map.getContext('2d')"
        ".getImageData(0, 0, map.width, map.height).data.buffer)).size"
    )
    assert drawn > 3
    rows(page).first.hover()
    expect(page.locator("#map-line")).to_contain_text("bank")
    page.locator("#map").focus()
    for _ in range(60):
        page.keyboard.press("ArrowRight")
        if page.locator("tr.pointed").count():
            break
    expect(page.locator("tr.pointed")).to_have_count(1)
    shoot(page, "06-senses-and-map")
    page.keyboard.press("Enter")
    expect(page.locator("tr.detail:visible")).to_have_count(1)
    page.locator("#sense-list .prototype").first.click()
    expect(page.locator("#document")).to_be_visible()


def test_a_map_of_thousands_of_points_is_drawn_and_followed_at_once(
    open_page: Open, shoot: Shoot
) -> None:
    page = open_page(RIVER)
    rng = np.random.default_rng(0)
    points = [
        {
            "vector_id": str(number),
            "x": float(rng.normal(3 * (number % 3), 1)),
            "y": float(rng.normal(number % 3, 1)),
            "sense": 1 + number % 3,
            "doc_id": f"d{number}",
            "sentence_index": 0,
            "left": "on the ",
            "node": "bank",
            "right": f" {number}",
        }
        for number in range(3000)
    ]
    answer = {"word": "bank", "forms": {"bank": 3000}, "occurrences": 3000, "points": points}
    page.route("**/v1/senses/map?*", lambda route: route.fulfill(json=answer))
    page.get_by_role("button", name="Senses", exact=True).click()
    canvas = page.locator("#map")
    expect(canvas).to_have_attribute("aria-label", re.compile("Map of 3,000 occurrences of bank"))
    coloured = canvas.evaluate(
        "map => { const data = map.getContext('2d').getImageData(0, 0, map.width, map.height).data;"
        " let count = 0; for (let i = 3; i < data.length; i += 4) count += data[i] > 0;"
        " return count / (data.length / 4); }"
    )
    assert coloured > 0.05
    # 200 moves of the pointer across the map: each finds the nearest point and rings it.
    moves = """map => {
      const box = map.getBoundingClientRect();
      const started = performance.now();
      for (let i = 0; i < 200; i++) {
        const [clientX, clientY] = [box.left + (box.width * i) / 200, box.top + box.height / 2];
        map.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY }));
      }
      return (performance.now() - started) / 200;
    }"""
    milliseconds = canvas.evaluate(moves)
    print(f"map of 3,000 points: {milliseconds:.2f} ms a move of the pointer")
    assert milliseconds < 50  # a busy machine; a quiet one takes about 1
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.locator("#map-line")).to_contain_text(re.compile(r"on the bank \d+ — d\d+"))
    shoot(page, "07-map-of-thousands")


def test_a_document_is_shown_around_a_line(open_page: Open, shoot: Shoot) -> None:
    page = open_page("?q=along+the+[bank]+of+the+river.+It+was+a+cold+day&doc=walk&sentence=15")
    dialog = page.locator("#document")
    expect(dialog.locator("[aria-current]")).to_have_count(1)
    expect(dialog.locator("#document-text p")).to_have_count(21)
    # It opens at its line, and its name and the way out stay in sight.
    expect(dialog.locator("[aria-current]")).to_be_in_viewport()
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    expect(dialog.locator("#document-title")).to_be_in_viewport(ratio=1)
    shoot(page, "08-document")
    dialog.get_by_role("button", name="Earlier sentences").click()
    expect(dialog.locator("#document-text p")).to_have_count(36)
    expect(dialog.get_by_role("button", name="Earlier sentences")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).not_to_have_url(re.compile("doc="))


def test_filters_come_from_the_metadata_and_options_from_the_address(
    open_page: Open, shoot: Shoot
) -> None:
    page = open_page(RIVER)
    page.locator("#options summary").click()
    page.get_by_label("copy").select_option("a")
    expect(page.locator("#options-set")).to_contain_text("copy: a")
    expect(page.locator("#lines .times")).to_have_count(0)
    page.get_by_label("Sort by").select_option("1L")
    page.get_by_label("Context").select_option("3")
    expect(page.locator("#options-set")).to_contain_text("sorted by 1 word left")
    expect(page.locator("#results")).not_to_have_attribute("aria-busy", "true")
    lefts = page.locator("#lines td.left").all_inner_texts()
    lasts = [text.split()[-1].casefold() for text in lefts if text.split()]
    assert lasts == sorted(lasts)
    assert all(len(text.split()) <= 3 for text in lefts)
    shoot(page, "09-filters")
    sent = open_page("?" + page.url.partition("?")[2])
    expect(sent.locator("#lines td.left").first).to_be_visible()
    assert sent.locator("#lines td.left").all_inner_texts() == lefts
    assert sent.get_by_label("copy").input_value() == "a"


def test_back_goes_back(open_page: Open) -> None:
    page = open_page(RIVER)
    expect(rows(page).first).to_be_visible()
    page.fill("#query", "He swung the [bat] and hit the ball")
    page.keyboard.press("Enter")
    expect(page.locator("#lines td.node").first).to_have_text("bat")
    page.go_back()
    expect(page.locator("#lines td.node").first).to_have_text("bank")
    expect(page.locator("#query")).to_have_value("They sat on the [bank] of the river")


def test_what_is_shown_is_exported(open_page: Open) -> None:
    page = open_page(RIVER)
    expect(rows(page).first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    with open(download.value.path(), encoding="utf-8") as file:
        found = json.load(file)
    assert [row["vector_id"] for row in table] == [hit["vector_id"] for hit in found["hits"]]
    assert {row["node"] for row in table} == {"bank"}
    assert found["query"] == "They sat on the [bank] of the river"
    assert len(table) == rows(page).count()


def test_more_lines_are_added_and_focus_goes_on(open_page: Open) -> None:
    page = open_page(RIVER.replace("They", "We") + "&k=5")
    expect(rows(page)).to_have_count(5)
    page.get_by_role("button", name="More lines").click()
    expect(rows(page).nth(5)).to_be_visible()
    expect(page.locator("#lines .pick:focus")).to_have_count(1)


def test_all_of_it_works_by_keyboard(open_page: Open) -> None:
    page = open_page()
    page.keyboard.press("/")
    expect(page.locator("#query")).to_be_focused()
    page.keyboard.type("They sat on the [bank] of the river")
    page.keyboard.press("Enter")
    expect(page.locator("#results-title")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(rows(page).first.locator(".pick")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("tr.detail:visible")).to_have_count(1)
    page.keyboard.press("o")
    expect(page.locator("#document")).to_be_visible()
    page.keyboard.press("Escape")
    expect(rows(page).first.locator(".pick")).to_be_focused()
    page.keyboard.press("w")
    expect(page.locator("#legend")).to_be_visible()
    page.keyboard.press("s")
    expect(page.locator("#senses-title")).to_be_focused()
    page.keyboard.press("s")
    expect(page.locator("#senses-button")).to_be_focused()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("more like the line")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("m")
    expect(page.locator("#restriction")).to_contain_text("More like 1 line")
    expect(page.locator("#results-title")).to_be_focused()


def test_a_phone_shows_all_without_scrolling_sideways(open_page: Open, shoot: Shoot) -> None:
    phone = {"viewport": {"width": 375, "height": 740}, "is_mobile": True, "has_touch": True}
    page = open_page(RIVER + "&panel=1", **phone)
    rows(page).nth(1).locator(".pick").tap()
    expect(page.locator("tr.detail:visible")).to_contain_text("river")
    expect(page.locator("#sense-list section").first).to_be_visible()
    for selector in ("body", "#results", "#lines table", "#senses-panel"):
        box = page.locator(selector).bounding_box()
        assert box is not None
        assert box["width"] <= 375, selector
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    cells = page.locator("#lines td.node").first
    assert cells.evaluate("({ firstChild: box }) => box.scrollWidth <= box.clientWidth")
    shoot(page, "10-phone")


@pytest.mark.parametrize("size", ["100%", "200%"])
def test_large_text_needs_no_scrolling_sideways(open_page: Open, size: str) -> None:
    page = open_page(RIVER)
    page.evaluate(f"document.documentElement.style.fontSize = '{size}'")
    expect(rows(page).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_hostile_text_is_text(open_page: Open, shoot: Shoot) -> None:
    page = open_page("?q=the+[bank]+<b>red</b>&filter=word%3D<u>w</u>")
    expect(rows(page)).to_have_count(1)
    rows(page).first.locator(".pick").click()
    detail = page.locator("tr.detail:visible")
    expect(detail).to_contain_text(
        "bank <img src=x onerror=document.title='owned'> \ufffd[31m red \ufffd evil <b>x</b>"
    )
    expect(detail.locator(".facts")).to_contain_text("word: <u>w</u>")
    assert page.locator("#results b, #results u, #results i:not(.scale i)").count() == 0
    assert "owned" not in page.title()
    shoot(page, "11-hostile")
    page.keyboard.press("o")
    expect(page.locator("#document-title")).to_have_text("<i>odd</i>")
    text = page.locator("#document-text")
    expect(text).to_contain_text("<img src=x onerror=document.title='owned'>")
    assert page.locator("#document i, #document img").count() == 0


def test_text_from_right_to_left_keeps_its_direction(open_page: Open) -> None:
    page = open_page("?q=جلسنا+على+ضفة+النهر")
    line = rows(page).filter(has_text="جلسنا").first
    expect(line).to_be_visible()
    line.locator(".pick").click()
    sentence = page.locator("tr.detail:visible .sentence")
    assert sentence.evaluate("p => getComputedStyle(p).direction") == "rtl"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?q=the+[bank]+of+a+[bank]", "two words are in brackets"),
        ("?q=the+[bank", "is not closed"),
        ("?q=[bank]&k=5000", "k is 5000, more than the 1000 lines"),
        ("?q=[bank]&filter=colour%3Dred", "no document has the metadata colour=red"),
        ("?q=[bank]&sense=9", "the sense is 9, but 'bank' has"),
        ("?q=" + "a" * 3000, "more than the 2,000 that this server takes"),
    ],
)
def test_what_cannot_be_searched_is_said_in_place(open_page: Open, query: str, words: str) -> None:
    page = open_page(query)
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.locator("#results")).to_be_hidden()
    expect(page.locator("#status")).to_be_empty()


def test_a_word_that_never_occurs_links_to_its_nearest_forms(open_page: Open, shoot: Shoot) -> None:
    page = open_page("?q=They+sat+on+the+[bannk]+of+the+river")
    expect(page.locator("#notes")).to_contain_text("“bannk” never occurs in this corpus")
    shoot(page, "12-absent-word")
    page.get_by_role("link", name="bank", exact=True).click()
    expect(page.locator("#query")).to_have_value("They sat on the [bank] of the river")
    expect(rows(page).first).to_be_visible()


def test_a_server_that_is_restarted_is_asked_again(
    open_page: Open, own_site: Callable[..., Any], shoot: Shoot
) -> None:
    server = own_site()
    page = open_page(RIVER, address=server.address)
    expect(rows(page).first).to_be_visible()
    server.stop()
    page.fill("#query", "He swung the [bat] and hit the ball")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer")
    expect(page.locator("#results.stale")).to_be_visible()
    shoot(page, "13-offline")
    server.start()
    expect(page.locator("#lines td.node").first).to_have_text("bat")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_key_is_asked_for_once(
    open_page: Open, own_site: Callable[..., Any], browser: Any, shoot: Shoot
) -> None:
    server = own_site(SENSEGREP_API_KEY="sesame")
    page = browser.new_page()
    page.goto(server.address + RIVER)
    expect(page.locator("#key-dialog")).to_contain_text("there is no key")
    shoot(page, "14-key")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-dialog")).to_contain_text("the key is wrong")
    page.fill("#key", "sesame")
    page.keyboard.press("Enter")
    expect(rows(page).first).to_be_visible()
    assert "sesame" not in page.url
    page.close()
    assert httpx.get(server.address + "v1/corpus").status_code == 401
    open_page()


def test_nothing_is_asked_of_another_host(open_page: Open, site: str) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site + RIVER + "&panel=1&shade=1")
    expect(page.locator("#sense-list section").first).to_be_visible()
    assert asked
    assert [url for url in asked if not url.startswith(site)] == []


STATES = {
    "empty": "",
    "lines": RIVER + "&shade=1&panel=1&open=1",
    "sentences": "?q=the+river+was+cold",
    "absent": "?q=the+[bannk]",
    "refused": "?q=the+[bank",
    "document": RIVER + "&doc=walk&sentence=15",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(open_page: Open, shoot: Shoot, state: str, scheme: str) -> None:
    page = open_page(STATES[state], color_scheme=scheme)
    expect(page.locator("#status")).to_be_empty()
    page.wait_for_load_state("networkidle")
    if state == "lines":
        expect(page.locator("#sense-list section").first).to_be_visible()
        rows(page).first.locator(".pick").click()
        page.locator("#options summary").click()
    if state == "empty":
        page.get_by_role("button", name="Help").click()
    shoot(page, f"20-{state}-{scheme}")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
