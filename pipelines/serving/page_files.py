"""The files of the search page, read once from the package."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from pipelines.serving.problems import problem
from pipelines.serving.search_routes import Handler

FOLDER = Path(__file__).parent / "page"
_MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """One file of the page.

    Attributes:
      body: its bytes.
      media_type: what they are.
      etag: changes with them.
    """

    body: bytes
    media_type: str
    etag: str


def read_page() -> dict[str, PageFile]:
    """Return the page's files by name."""
    files = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in _MEDIA:
            body = path.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:20]
            files[path.name] = PageFile(
                body=body, media_type=_MEDIA[path.suffix], etag=f'"{digest}"'
            )
    return files


def page_route(files: dict[str, PageFile]) -> Handler:
    """GET /: the page itself."""

    async def page(request: Request) -> Response:
        return _send(files["index.html"], request)

    return page


def icon_route(files: dict[str, PageFile]) -> Handler:
    """GET /favicon.ico: the page's icon."""

    async def icon(request: Request) -> Response:
        return _send(files["icon.svg"], request)

    return icon


def asset_route(files: dict[str, PageFile]) -> Handler:
    """GET /assets/{name}: its modules and styles."""

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            return problem(404, "not_found", f"the page has no file {name!r}")
        return _send(files[name], request)

    return asset


def _send(file: PageFile, request: Request) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, headers=headers, media_type=file.media_type)
