"""The search page in a browser: filters, addresses, export, keyboard, screens of any size."""

import csv
import json

import pytest
from playwright.sync_api import expect

from tests.pipelines.serving.page.opened_page import RIVER, Open, Shoot, rows

pytestmark = pytest.mark.browser


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


def test_documents_are_named_by_their_title_or_what_is_chosen(open_page: Open) -> None:
    page = open_page(RIVER)
    walk = rows(page).filter(has_text="We walked along").locator("td.doc")
    expect(walk).to_have_text("A walk by the river ×12")
    expect(walk).to_have_attribute("title", "walk")
    expect(rows(page).first.locator("td.doc")).to_have_text("bank/river/01/a ×2")
    page.locator("#options summary").click()
    page.get_by_label("Documents by").select_option("copy")
    expect(rows(page).first.locator("td.doc")).to_have_text("a ×2")
    page.get_by_label("Documents by").select_option("id")
    expect(walk).to_have_text("walk ×12")
    page.reload()
    expect(walk).to_have_text("walk ×12")


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


def test_an_exported_table_has_no_formulas(open_page: Open) -> None:
    page = open_page("?q=call+the+[dog]&filter=language%3Dformula")
    expect(rows(page)).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    with open(download.value.path(), newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert row["left"].startswith("'=cmd")
    assert float(row["score"]) <= 1


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


def test_long_names_and_words_need_no_scrolling_sideways_on_a_phone(
    open_page: Open, shoot: Shoot
) -> None:
    page = open_page(
        "?q=the+[cat]+of&filter=language%3Dlong", viewport={"width": 375, "height": 740}
    )
    expect(rows(page)).to_have_count(1)
    rows(page).first.locator(".pick").click()
    page.locator("#options summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    shoot(page, "10-phone-long-names")
    page.locator("#options summary").click()
    page.get_by_role("button", name="Open document").click()
    expect(page.locator("#document")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.locator("#document").evaluate("box => box.scrollWidth <= box.clientWidth")


@pytest.mark.parametrize("size", ["100%", "200%"])
def test_large_text_needs_no_scrolling_sideways(open_page: Open, size: str) -> None:
    page = open_page(RIVER)
    page.evaluate(f"document.documentElement.style.fontSize = '{size}'")
    expect(rows(page).first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
