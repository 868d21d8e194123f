"""What the server answers with at a page's address."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st

from pages.components.served import assets, index
from pages.components.shared import addresses

STATIC = Path(st.__file__).parent / "static"


def _awaited(coroutine):
    with ThreadPoolExecutor(1) as threads:  # this one may have a loop that runs, a browser's
        return threads.submit(asyncio.run, coroutine).result()


def test_every_page_is_answered_with_the_document_whose_additions_come_where_they_work() -> None:
    routes = {route.path: route for route in index.routes()}
    assert set(routes) == {f"/{address}" for address in addresses.ADDRESSES}
    answer = _awaited(routes["/fuse"].endpoint(None))
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    head, body = answer.body.decode().split("</head>")
    assert head.index("BACKEND_BASE_URL") < head.index('type="module"'), "Streamlit reads it as its code begins"
    assert "history.pushState" in head
    styles = body[body.index("<style>"):]
    assert ".stMainBlockContainer" in styles
    assert ".passport-name" in styles
    assert body.index("<style>") > body.index('id="root"')


def test_what_is_loaded_ahead_is_there() -> None:
    names = [*((name, "js") for name in (*index._SOON, *index._LATER)), ("MaterialSymbols-Rounded", "media")]
    assert all(f'href=".{assets.address(*name)}"' in index.document() for name in names)
    links = re.findall(r'<link rel="(?:modulepreload|prefetch|preload)" href="\./(static[^"]+)"', index.document())
    assert all((STATIC / link).is_file() for link in links)


def test_streamlit_still_takes_its_address_from_the_document() -> None:
    """Its code is not documented here; another version may read another name."""
    assert any("BACKEND_BASE_URL" in file.read_text() for file in (STATIC / "static" / "js").glob("index.*.js"))


def _asked(path: str, method: str = "GET") -> tuple[int, bytes, dict[bytes, bytes]]:
    """Status, body and headers of what the middleware answers; 0 where it leaves the answer to the app."""
    sent: list[dict] = []

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 0, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    _awaited(assets.Assets(app)(scope, receive, send))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:]), dict(sent[0]["headers"])


def test_code_is_handed_out_from_memory_as_it_lies_on_the_disk() -> None:
    address = assets.address("TextInput")
    status, body, headers = _asked(address)
    assert status == 200
    assert body == (STATIC / address.lstrip("/")).read_bytes()
    assert headers[b"content-type"].startswith(b"text/javascript")
    assert b"immutable" in headers[b"cache-control"]


@pytest.mark.parametrize("path", [
    "/static/js/../index.html", "/static/js/%2e%2e/index.html", "/static/nothing.js", "/fuse", "/_stcore/health",
])
def test_everything_else_is_left_to_the_app(path) -> None:
    assert _asked(path)[0] == 0
    assert _asked(assets.address("TextInput"), "POST")[0] == 0


def test_what_the_code_of_an_element_imports_is_asked_for_with_it() -> None:
    wanted = assets.address("TextInput")
    text = (STATIC / wanted.lstrip("/")).read_text()
    direct = [f"/static/js/{name}" for name in re.findall(r'from"\./([\w.-]+\.js)"', text)]
    found = assets.imported([wanted])
    assert len(direct) > 5
    assert set(direct) < set(found)
    assert len(found) == len(set(found))
    assert all(f'href=".{place}"' in index.document() for place in found)
