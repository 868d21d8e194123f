"""Numbers and names as the app writes them. Whatever came from a file or a user is escaped here before it is shown."""

import html
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-!|~<>$:&])")


def plain(value: object) -> str:
    """`value` for st.markdown, st.error and the like: shown literally, so it can neither format, link nor load."""
    return _MARKDOWN.sub(r"\\\1", str(value).replace("\n", " "))


def escaped(value: object) -> str:
    """`value` for HTML and for Plotly's texts, which read a few tags."""
    return html.escape(str(value))


def percent(share: float | None, digits: int = 1) -> str:
    """0.948 -> '94.8 %'; an en dash where there is no number."""
    return "–" if share is None else f"{100 * share:.{digits}f}\u202f%"


def seconds(value: float | None) -> str:
    """A duration with the precision a reader needs."""
    if value is None:
        return "–"
    if value < 1:
        return f"{1000 * value:.0f}\u202fms"
    if value < 90:
        return f"{value:.1f}\u202fs"
    return f"{value / 60:.1f}\u202fmin"


def size(number: int) -> str:
    """12345 -> '12,345'; millions with one decimal."""
    return f"{number / 1e6:.1f}\u202fM" if number >= 1_000_000 else f"{number:,}"


def megabytes(value: float) -> str:
    return f"{value / 1024:.1f}\u202fGB" if value >= 1024 else f"{value:.0f}\u202fMB"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """'1 parent', '3 parents'."""
    return f"{size(number)} {singular if number == 1 else plural or singular + 's'}"


def distinct(names: Iterable[str], length: int = 24) -> list[str]:
    """Names cut to `length`, numbered where two would look the same: charts and tables tell rows by their names."""
    cut = [short(name, length) for name in names]
    return [f"{name} ({cut[:i].count(name) + 1})" if cut.count(name) > 1 else name for i, name in enumerate(cut)]


def join(words: Iterable[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    items = list(words)
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 2 else items)


def short(text: Any, length: int = 28) -> str:
    """`text` cut in the middle, so that the tell-tale end of a file name stays."""
    value = str(text)
    if len(value) <= length:
        return value
    half = (length - 1) // 2
    return f"{value[:half]}…{value[-half:]}"


def when(moment: float) -> str:
    """Local date and time of seconds since the epoch."""
    then = datetime.fromtimestamp(moment)
    return f"{then:%H:%M:%S}" if then.date() == datetime.now().date() else f"{then:%d %b %H:%M}"
