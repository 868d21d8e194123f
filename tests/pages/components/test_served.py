"""What the server answers with at a page's address."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import streamlit as st

from pages.components.served import index

STATIC = Path(st.__file__).parent / "static"


def test_every_page_is_answered_with_the_document_whose_additions_come_where_they_work() -> None:
    routes = {route.path: route for route in index.routes()}
    assert set(routes) == {"/", "/parents", "/explore", "/fuse", "/leaderboard", "/compare", "/difference", "/analyse"}
    with ThreadPoolExecutor(1) as threads:  # this one may have a loop that runs, a browser's
        answer = threads.submit(lambda: asyncio.run(routes["/fuse"].endpoint(None))).result()
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
    links = re.findall(r'<link rel="(?:modulepreload|prefetch)" href="\./([^"]+)"', index.document())
    assert len(links) == len(index._SOON) + len(index._LATER)
    assert all((STATIC / link).is_file() for link in links)


def test_streamlit_still_takes_its_address_from_the_document() -> None:
    """Its code is not documented here; another version may read another name."""
    assert any("BACKEND_BASE_URL" in file.read_text() for file in (STATIC / "static" / "js").glob("index.*.js"))
