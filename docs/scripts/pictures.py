"""Take the pictures of README from the search page: `make pictures`. Needs Chromium.

Usage: python docs/scripts/pictures.py CORPUS

Serves CORPUS (the demo's) with `sensegrep serve`, opens the page in headless Chromium, and writes
docs/pictures/search.png (a search) and docs/pictures/map.png (the map of `bank`).
"""

import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect, sync_playwright

PICTURES = Path(__file__).resolve().parent.parent / "pictures"
QUERY = "They sat on the [bank] of the river"
MAP_HEIGHT = 640
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def served(corpus: str) -> Iterator[str]:
    """Serve a corpus on a free port; yield the address of the page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    command = [sys.executable, "-m", "pipelines", "serve", "--corpus", corpus, "--port", str(port)]
    process = subprocess.Popen(command)
    try:
        while process.poll() is None:
            with suppress(httpx.TransportError):
                if httpx.get(f"{address}readyz").is_success:
                    yield address
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the server ended with exit status {process.returncode}")
    finally:
        process.terminate()
        process.wait()


def take(page: Page, address: str) -> None:
    """Take both pictures."""
    page.goto(f"{address}?{urllib.parse.urlencode({'q': QUERY})}")
    expect(page.locator("#lines tr.line").nth(3)).to_be_visible(timeout=60_000)
    expect(page.locator("details.fold").first).to_be_visible()
    page.screenshot(path=PICTURES / "search.png")
    page.get_by_role("button", name="Senses", exact=True).click()
    expect(page.locator("#sense-list section").nth(1)).to_be_visible()
    page.mouse.move(0, 0)
    box = page.locator("#senses-panel").bounding_box()
    assert box is not None
    # As high as the other picture where README shows the two side by side.
    page.screenshot(path=PICTURES / "map.png", clip={**box, "height": MAP_HEIGHT}, full_page=True)


def main(corpus: str) -> int:
    """Take the pictures of a corpus."""
    browser = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if browser is None:
        print("pictures: no Chromium found; install chromium", file=sys.stderr)
        return 1
    PICTURES.mkdir(exist_ok=True)
    with served(corpus) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        take(chromium.new_page(viewport={"width": 1000, "height": 780}), address)
        chromium.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
