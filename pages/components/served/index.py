"""The document at every page's address: Streamlit's own, with what must be there from the first moment.

Streamlit draws a page's elements as they come, each with code that it loads when it first needs it. A style sheet that
is an element comes after what it styles, and the page moves under the reader; so it stands in the document. So does:
- where the server is: on /fuse Streamlit would ask /fuse/_stcore/health first, be answered 404 and then try above;
- what keeps the browser's history short (history.js);
- that the code of the elements which the pages use is to be loaded while the page's script still runs.
"""

from functools import cache
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from ..shared.addresses import ADDRESSES
from . import assets

_DOCUMENT = Path(st.__file__).parent / "static" / "index.html"
_LOOKS = Path(__file__).parents[1]
_STYLES = ("shared/style.css", "passport/passport.css", "compare/compare.css")
_HERE = "<script>window.__streamlit = {BACKEND_BASE_URL: location.origin};</script>"
# What Streamlit's front end calls the code of the elements that the pages use; the large ones come when nothing waits.
_SOON = (
    "BidiComponent", "Button", "ButtonGroup", "Checkbox", "DownloadButton", "Html", "ImageList", "Metric",
    "Multiselect", "NumberInput", "PageLink", "Progress", "Selectbox", "TextInput",
)
_LATER = ("PlotlyChart", "DataFrame", "arrowFormatUtils")


def routes() -> list[Route]:
    """One for the address of every page."""
    return [Route(f"/{address}", _answer, methods=["GET", "HEAD"]) for address in ADDRESSES]


async def _answer(request: Request) -> HTMLResponse:
    return HTMLResponse(document(), headers={"Cache-Control": "no-cache"})


@cache
def document() -> str:
    """Streamlit's document with the additions. Styles stand at its end: of two rules of one weight the later wins, and
    Streamlit writes its own into the head."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    history = (_LOOKS / "shared" / "history.js").read_text(encoding="utf-8")
    styles = "\n".join((_LOOKS / name).read_text(encoding="utf-8") for name in _STYLES)
    head = f"{_HERE}<script>{history}</script>{_preloads()}"
    return text.replace("</title>", f"</title>{head}", 1).replace("</body>", f"<style>{styles}</style></body>", 1)


def _preloads() -> str:
    soon = assets.imported([place for name in _SOON if (place := assets.address(name))])
    later = [place for name in _LATER if (place := assets.address(name))]
    links = [f'<link rel="modulepreload" href=".{place}">' for place in soon]
    links += [f'<link rel="prefetch" href=".{place}">' for place in later]
    if symbols := assets.address("MaterialSymbols-Rounded", "media"):
        links.append(f'<link rel="preload" href=".{symbols}" as="font" type="font/woff2" crossorigin>')
    return "".join(links)
