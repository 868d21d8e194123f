"""The words behind the pages: one file of terms, and a dotted line under them that opens what they mean.

A term in HTML is a span that takes the keyboard's focus, with what it means beside it; the style sheet shows that while
the pointer or the focus is on it. Terms that have to do with a control go into its help.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from .text import escaped, plain

_FILE = Path(__file__).with_name("glossary.yaml")
_MARKED = re.compile(r"\[([^\[\]]+)\]")


@dataclass(frozen=True)
class Term:
    """word: as it is listed. says: what it means. others: other ways of writing it."""

    word: str
    says: str
    others: tuple[str, ...] = ()


@cache
def terms() -> dict[str, Term]:
    """All terms by word, in the order of the alphabet."""
    read: Mapping[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    found = {word: Term(word, entry["says"], tuple(entry.get("as", ()))) for word, entry in read.items()}
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


@cache
def _by_writing() -> dict[str, Term]:
    return {writing.lower(): term for term in terms().values() for writing in (term.word, *term.others)}


def meaning(word: str) -> str:
    """What a term means, for a control's help. KeyError for a word that is not there."""
    return plain(_by_writing()[word.lower()].says)


def term(word: str) -> str:
    """A term as HTML, with what it means. KeyError for a word that is not there."""
    says = _by_writing()[word.lower()].says
    return (
        f'<span class="term" tabindex="0">{escaped(word)}'
        f'<span class="term-says" role="tooltip">{escaped(says)}</span></span>'
    )


def marked(text: str) -> str:
    """`text`, which is HTML, with what stands in [brackets] as terms."""
    return _MARKED.sub(lambda found: term(found[1]), text)


def bare(text: str) -> str:
    """`text` without the brackets around its terms, for where no HTML goes."""
    return _MARKED.sub(r"\1", text)


def listed(words: Iterable[str] | None = None) -> str:
    """Terms with what they mean, as HTML; all of them by default."""
    chosen = terms().values() if words is None else [_by_writing()[word.lower()] for word in words]
    rows = (f"<dt>{escaped(each.word)}</dt><dd>{escaped(each.says)}</dd>" for each in chosen)
    return f'<dl class="words">{"".join(rows)}</dl>'
