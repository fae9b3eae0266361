"""The console: a page, its modules and its styles, read once at start. No login: it holds no data."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from litestar import Response, Router, get
from litestar.params import FromPath
from understudy_contracts.errors import NotFound

_FOLDER = Path(__file__).parent.parent / "console"
_MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Only these names exist: no path of a request ever reaches the disk.
_FILES: Final = {
    path.name: (path.read_bytes(), _MEDIA_TYPES[path.suffix])
    for path in sorted(_FOLDER.iterdir())
    if path.suffix in _MEDIA_TYPES
}


@get("/", opt={"public": True})
async def page() -> Response[bytes]:
    return _answer("index.html")


@get("/static/{name:str}", opt={"public": True})
async def file(name: FromPath[str]) -> Response[bytes]:
    return _answer(name)


def _answer(name: str) -> Response[bytes]:
    if name not in _FILES:
        raise NotFound("the console has no such file")
    body, media_type = _FILES[name]
    return Response(body, media_type=media_type)


console_router = Router("/", route_handlers=[page, file], include_in_schema=False)
