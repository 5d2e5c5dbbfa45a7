"""What the tests of the page share: an address, the lines shown, the types of the fixtures."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

Open = Callable[..., Page]
Shoot = Callable[[Page, str], None]
RIVER = "?q=They+sat+on+the+[bank]+of+the+river"


def rows(page: Page) -> Any:
    """Return the lines that a page shows."""
    return page.locator("#lines tr.line")
