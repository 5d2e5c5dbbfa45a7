"""The search page in a browser: the map of senses, and the documents of lines."""

import re

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.pipelines.serving.page.opened_page import RIVER, Open, Shoot, rows

pytestmark = pytest.mark.browser


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
    page = open_page(
        "?q=along+the+[bank]+of+the+river.+It+was+a+cold+day&doc=walk&sentence=15&token=4"
    )
    dialog = page.locator("#document")
    expect(dialog.locator("[aria-current]")).to_have_count(1)
    expect(dialog.locator("#document-text p")).to_have_count(21)
    # It opens at its line, and its name and the way out stay in sight.
    expect(dialog.locator("[aria-current]")).to_be_in_viewport()
    expect(dialog.get_by_role("button", name="Close")).to_be_in_viewport(ratio=1)
    expect(dialog.locator("#document-title")).to_be_in_viewport(ratio=1)
    expect(dialog.locator("#document-title")).to_have_text("A walk by the river")
    expect(dialog.locator("[aria-current] .node")).to_have_text("bank")
    shoot(page, "08-document")
    dialog.get_by_role("button", name="Earlier sentences").click()
    expect(dialog.locator("#document-text p")).to_have_count(36)
    expect(dialog.get_by_role("button", name="Earlier sentences")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page).not_to_have_url(re.compile("doc="))
