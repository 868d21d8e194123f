"""Names, notes and tags that users give to runs: about.json in a run's folder. Lengths are bounded; what is kept is
text as it was typed, to be escaped wherever it is shown."""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_engine.core.errors import StoreError

from ..files import read_json, write_json
from ..home import folder
from ..runs import run_folder
from ..shapes import About

LONGEST_NAME, LONGEST_NOTE, LONGEST_TAG, MOST_TAGS = 80, 4000, 30, 20
_FILE = "about.json"


def read_about(run: str) -> About:
    """What is said of a run; empty where nothing is, or where what is there is damaged. StoreError if there is none."""
    return about_in(run_folder(run))


def about_in(folder: Path) -> About:
    """As `read_about`, of a run's folder anywhere."""
    path = folder / _FILE
    found: Any = None
    if path.is_file():
        try:
            found = read_json(path, f"what is said of run {folder.name}")
        except StoreError:
            found = None  # a damaged note hides no result
    try:
        name, note, tags = found["name"], found["note"], found["tags"]
        return {"name": _name(name), "note": _note(note), "tags": _tags(tags), "changed": float(found["changed"])}
    except (KeyError, TypeError, ValueError, AttributeError, StoreError):
        return {"name": "", "note": "", "tags": [], "changed": 0.0}


def describe_run(
    run: str, *, name: str | None = None, note: str | None = None, tags: Sequence[str] | None = None
) -> About:
    """Give a run a name, a note or tags, in place of those it has; None leaves as it is, '' and () take away.

    name: one line of at most 80 characters. note: at most 4,000, lines included. tags: at most 20, of at most 30
    characters each without commas; each is kept once, in the order given. StoreError in one line for anything else;
    then nothing changes.
    """
    old = read_about(run)
    new: About = {
        "name": old["name"] if name is None else _name(name), "note": old["note"] if note is None else _note(note),
        "tags": old["tags"] if tags is None else _tags(tags), "changed": time.time(),
    }
    write_json(run_folder(run) / _FILE, new)
    return new


def change_tags(run: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> About:
    """Add tags to a run and take some away; one that it has, or has not, is no error. StoreError as `describe_run`."""
    gone = set(_tags(remove))
    return describe_run(run, tags=[tag for tag in [*read_about(run)["tags"], *_tags(add)] if tag not in gone])


def tags_in_use() -> list[str]:
    """The tags of all runs, in alphabetical order. Reads what is said of runs and nothing else of them."""
    said = (path.parent.name for path in folder("runs").glob("*/" + _FILE))
    tags = set()
    for run in said:
        with contextlib.suppress(StoreError):  # deleted, or being so
            tags.update(read_about(run)["tags"])
    return sorted(tags, key=str.casefold)


def _name(text: str) -> str:
    text = text.strip()
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise StoreError(f"a run's name has at most {LONGEST_NAME} characters on one line")
    return text


def _note(text: str) -> str:
    text = "\n".join(line.rstrip() for line in text.expandtabs(4).splitlines()).strip("\n")
    if len(text) > LONGEST_NOTE:
        raise StoreError(f"a run's note has at most {LONGEST_NOTE:,} characters, not {len(text):,}")
    if not all(line.isprintable() for line in text.split("\n")):
        raise StoreError("a run's note is plain text: it has characters that cannot be shown")
    return text


def _tags(tags: Sequence[str]) -> list[str]:
    kept = [" ".join(tag.split()) for tag in ([tags] if isinstance(tags, str) else tags)]
    for tag in kept:
        if not tag or len(tag) > LONGEST_TAG or not tag.isprintable() or "," in tag:
            raise StoreError(f"a tag has 1 to {LONGEST_TAG} characters without a comma, on one line")
    kept = list(dict.fromkeys(kept))
    if len(kept) > MOST_TAGS:
        raise StoreError(f"a run has at most {MOST_TAGS} tags")
    return kept
