"""The search page in a browser: queries, lines, senses folded below, weights, likeness."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.pipelines.serving.page.opened_page import RIVER, Open, Shoot, rows

pytestmark = pytest.mark.browser


def test_an_empty_page_says_what_to_do(open_page: Open, shoot: Shoot) -> None:
    page = open_page()
    expect(page.locator("#welcome")).to_contain_text("Mark the word")
    expect(page.locator("#corpus-facts")).to_contain_text("587 documents")
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


def test_lines_are_shown_before_the_senses_are_found(open_page: Open, shoot: Shoot) -> None:
    page = open_page()

    def slow(route: Any) -> None:
        if "no_senses" not in route.request.url:
            page.wait_for_timeout(1500)
        route.continue_()

    page.route("**/v1/search?*", slow)
    page.fill("#query", "They sat on the [bank] of the river")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("Finding the senses of “bank”…")
    expect(page.locator("#results-title")).to_be_focused()
    expect(page.locator("details.fold")).to_have_count(0)
    assert rows(page).count() > 10
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    chosen = rows(page).first.get_attribute("data-id")
    shoot(page, "02-lines-early")
    expect(page.locator("details.fold")).to_have_count(1)
    expect(page.locator("#status")).to_be_empty()
    # What the reader has chosen meanwhile stays chosen.
    expect(page.locator(f'tr.line.open[data-id="{chosen}"] .pick')).to_be_focused()


def test_senses_that_are_known_are_asked_for_once(open_page: Open) -> None:
    page = open_page(RIVER)
    expect(page.locator("details.fold")).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    expect(page.locator("details.fold")).to_have_count(1)
    assert [url for url in asked if "no_senses" in url] == []


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
