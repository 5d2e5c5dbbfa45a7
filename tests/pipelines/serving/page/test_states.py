"""The search page in a browser: errors, hostile text, a server away, keys, accessibility."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.pipelines.serving.page.opened_page import RIVER, Open, Shoot, rows

pytestmark = pytest.mark.browser


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
    script = "<script>document.title='owned'</script>"
    expect(page.locator("#document-title")).to_have_text(script)
    expect(page.locator("#document-metadata dd").first).to_have_text("<i>odd</i>")
    assert rows(page).first.locator("td.doc").inner_text() == script
    text = page.locator("#document-text")
    expect(text).to_contain_text("<img src=x onerror=document.title='owned'>")
    assert page.locator("#document i, #document img").count() == 0
    assert page.locator("body script").count() == 0
    assert "owned" not in page.title()


def test_lines_from_right_to_left_are_aligned_from_the_right(open_page: Open, shoot: Shoot) -> None:
    page = open_page("?q=ذهبت+إلى+[البنك]+لأودع+المال")
    expect(rows(page)).to_have_count(3)
    places = {
        name: rows(page).first.locator(f"td.{name} bdi").bounding_box()
        for name in ("score", "left", "node", "right")
        if name != "score"
    }
    assert places["left"]["x"] > places["node"]["x"] > places["right"]["x"]
    # The word before the node ends where the node begins.
    assert abs(places["left"]["x"] - places["node"]["x"] - places["node"]["width"]) < 30
    rows(page).first.locator(".pick").click()
    shoot(page, "11-right-to-left")


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
        ("?q=the+[bank]+of+a+[bank]", "Two words are in brackets"),
        ("?q=the+[bank", "is not closed"),
        ("?q=[bank]&k=5000", "The number of lines is 5000, more than the 1000 lines"),
        ("?q=[bank]&filter=colour%3Dred", "No document has the metadata colour=red"),
        ("?q=[bank]&sense=9", "The sense is 9, but 'bank' has"),
        ("?q=" + "a" * 3000, "The query has 3,000 characters, more than the 2,000 that"),
    ],
)
def test_what_cannot_be_searched_is_said_in_place(open_page: Open, query: str, words: str) -> None:
    page = open_page(query)
    expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.locator("#results")).to_be_hidden()
    expect(page.locator("#status")).to_be_empty()


def test_focus_goes_to_the_problem_where_its_line_is_gone(open_page: Open) -> None:
    page = open_page(RIVER)
    expect(rows(page).first).to_be_visible()
    page.keyboard.press("j")
    error = {"error": {"status": 422, "type": "usage", "message": "there is no such line"}}
    page.route("**/v1/search?like=*", lambda route: route.fulfill(status=422, json=error))
    page.keyboard.press("m")
    expect(page.get_by_role("alert")).to_have_text("There is no such line.")
    expect(page.get_by_role("alert")).to_be_focused()


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
    expect(page.locator("#key-dialog")).to_contain_text("This server asks for a key")
    shoot(page, "14-key")
    page.fill("#key", "wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#key-dialog")).to_contain_text("The key is wrong.")
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
    "right-to-left": "?q=ذهبت+إلى+[البنك]+لأودع+المال&shade=1",
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
