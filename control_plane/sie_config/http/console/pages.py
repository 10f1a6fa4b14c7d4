"""The console's files: read once, packed once, served with headers that a browser obeys.

*shell.* Reads the folder `web` beside it. Promises that a page loads nothing from elsewhere, and
runs no script and no style that stands in a page. It cannot be put into another site's frame.
Vendored files lie there as their packages have them; the one bare name in them is answered as a
path.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sie_config.http.direct import DirectApp
from sie_config.http.doors import door
from sie_runtime.http.etags import is_named
from sie_schemas.errors import FixRequest

__all__ = ["PAGE_HEADERS", "WebFile", "add_pages", "read_files"]

_FOLDER: Final = Path(__file__).with_name("web")
_MEDIA: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_BARE: Final = (b'from"preact"', b'from"./preact.js"')
"""A browser finds no package by its name, and a map of names would be a script in the page."""
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
PAGE_HEADERS: Final[Mapping[str, str]] = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""They go with each of the files."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file: its bytes, the same packed, its entity tag and its media type."""

    data: bytes
    packed: bytes
    etag: str
    media: str


def read_files() -> dict[str, WebFile]:
    """Every file that a browser may ask for, by its path below `/console/`."""
    found: dict[str, WebFile] = {}
    for path in sorted(_FOLDER.rglob("*")):
        media = _MEDIA.get(path.suffix)
        if media is None or not path.is_file():
            continue
        data = path.read_bytes()
        if path.parent != _FOLDER:
            data = data.replace(*_BARE)
        tag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
        packed = gzip.compress(data, 9, mtime=0)
        found[str(path.relative_to(_FOLDER))] = WebFile(data, packed, tag, media)
    return found


def add_pages(app: DirectApp) -> None:
    """Mount `/console` and its files; a browser at `/` is sent there."""
    files = read_files()

    @app.get("/", include_in_schema=False)
    @door(None)
    async def root(request: Request) -> Response:
        """The console, for a browser."""
        if "text/html" not in request.headers.get("accept", ""):
            raise FixRequest("there is no / here; /console is for browsers", code="NOT_FOUND")
        # Relative, since a proxy may have put the service below a path of its own.
        return RedirectResponse("console/", 307)

    @app.get("/console", include_in_schema=False)
    @door(None)
    async def without_slash() -> Response:
        """The console's scripts are found beside its page."""
        return RedirectResponse("console/", 307)

    @app.get("/console/{name:path}", include_in_schema=False)
    @door(None)
    async def file(name: str, request: Request) -> Response:
        """One file of the console."""
        found = files.get(name or "index.html")
        if found is None:
            raise FixRequest(f"there is no /console/{name[:100]} here", code="NOT_FOUND")
        return _answer(found, request)


def _answer(found: WebFile, request: Request) -> Response:
    headers = {
        **PAGE_HEADERS,
        "cache-control": "no-cache",
        "etag": found.etag,
        "vary": "Accept-Encoding",
    }
    if is_named(request.headers.get("if-none-match"), found.etag):
        return Response(status_code=304, headers=headers)
    data = found.data
    if "gzip" in request.headers.get("accept-encoding", ""):
        data, headers["content-encoding"] = found.packed, "gzip"
    return Response(data, headers=headers, media_type=found.media)
