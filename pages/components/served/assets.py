"""Streamlit's own code for the browser, handed out from memory.

A page is a hundred small files. Streamlit reads each from the disk in a thread of its own, which takes longer than to
send it; together they were most of what a visitor waited for.
"""

import mimetypes
import re
from functools import cache
from pathlib import Path

import streamlit as st
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_STATIC = Path(st.__file__).parent / "static" / "static"
_IN_MEMORY = 1_000_000  # bytes of a file; the few that are larger are read when they are asked for
_HEADERS = {"Cache-Control": "public, immutable, max-age=31536000"}  # a name holds the digest of its content
_IMPORTS = re.compile(r'(?:\bfrom|\bimport)\s*"\./([\w.\-]+\.js)"')


class Assets:
    """ASGI middleware that answers for Streamlit's files and leaves all else to the app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _answer(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        await (answer or self._app)(scope, receive, send)


def _answer(address: str) -> Response | None:
    path = _files().get(address)
    if path is None or path.stat().st_size > _IN_MEMORY:
        return None
    return Response(_content(path), media_type=mimetypes.guess_type(path.name)[0], headers=_HEADERS)


@cache
def _files() -> dict[str, Path]:
    """By address: what is not here is not handed out, whatever is asked for."""
    return {f"/static/{path.parent.name}/{path.name}": path for path in _STATIC.glob("*/*") if path.is_file()}


@cache
def _content(path: Path) -> bytes:
    return path.read_bytes()


def address(name: str, folder: str = "js") -> str | None:
    """Where the file is whose name, without its digest, is given; None in a Streamlit that has none."""
    return next((place for place in _files() if place.startswith(f"/static/{folder}/{name}.")), None)


def imported(addresses: list[str]) -> list[str]:
    """JavaScript and all that it imports, and so on, each once, in the order of the first mention."""
    found: dict[str, None] = {}
    waiting = list(reversed(addresses))
    while waiting:
        place = waiting.pop()
        if place not in found and place in _files():
            found[place] = None
            waiting += [f"/static/js/{name}" for name in reversed(_IMPORTS.findall(_content(_files()[place]).decode()))]
    return list(found)
