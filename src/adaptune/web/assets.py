"""The static files of a page as they are sent: read once, packed, and with nothing let in from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

SHARED = Path(__file__).parent / "static"
"""What every page is made of: elements, words, the frame, the styles."""
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, nothing inline; and no text that a user or a model wrote can be taken for HTML."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "Cache-Control": "no-cache",  # browsers keep the files, and ask each time whether they are still these
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    body: bytes
    packed: bytes
    """The same, by gzip."""
    media_type: str
    etag: str


def assets_of(folder: Path) -> dict[str, Asset]:
    """The files of one page by name, those that all pages share among them."""
    files = sorted([*SHARED.iterdir(), *folder.iterdir()], key=lambda file: file.name)
    return {file.name: _read(file) for file in files if file.suffix in TYPES}


def page_of(assets: Mapping[str, Asset]) -> APIRouter:
    """GET / and GET /page/NAME: the page and what it is made of. Nothing else of the package can be had."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        return _sent(request, assets["index.html"])

    @router.api_route("/page/{name}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        if name not in assets:
            raise HTTPException(404, "the page has no such file")
        return _sent(request, assets[name])

    return router


def _read(file: Path) -> Asset:
    body = file.read_bytes()
    return Asset(body, gzip.compress(body, mtime=0), TYPES[file.suffix], f'W/"{hashlib.sha256(body).hexdigest()[:20]}"')


def _sent(request: Request, found: Asset) -> Response:
    headers = HEADERS | {"ETag": found.etag}
    known = request.headers.get("If-None-Match", "")
    if found.etag in {one.strip() for one in known.split(",")}:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return Response(found.packed, media_type=found.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(found.body, media_type=found.media_type, headers=headers)
