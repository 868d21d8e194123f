"""The names that users give to neurons."""

from collections.abc import Sequence
from typing import cast

from fusion_engine.core.errors import StoreError

from .files import read_json, write_json
from .home import check_digest, folder
from .shapes import Label

_LONGEST = 2**20  # characters of a list
_MOST_LABELS = 500  # of one space
_LONGEST_NAME = 80


def read_labels(parents: str, space: str) -> list[Label]:
    """The labels given in one space of a parent set, in the order of their names."""
    every = _labels(parents).get(space, [])
    return sorted(every, key=lambda label: label["name"])


def save_label(parents: str, space: str, name: str, neurons: Sequence[str]) -> None:
    """Give neurons ('0:17', ...) a name; one that is there already is replaced, and without neurons it goes.

    StoreError for a name that is empty, over 80 characters or not on one line, and for more than 500 in a space.
    """
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise StoreError(f"a label has 1 to {_LONGEST_NAME} characters on one line")
    every = _labels(parents)
    others = [label for label in every.get(space, []) if label["name"] != name]
    if neurons and len(others) >= _MOST_LABELS:
        raise StoreError(f"this space has {_MOST_LABELS} labels already; remove one first")
    if sum(map(len, neurons)) > _LONGEST:
        raise StoreError("this label has too many neurons to be kept")
    every[space] = [*others, {"name": name, "neurons": list(neurons)}] if neurons else others
    write_json(folder("labels") / f"{check_digest(parents, 'parent set')}.json", every)


def _labels(parents: str) -> dict[str, list[Label]]:
    path = folder("labels") / f"{check_digest(parents, 'parent set')}.json"
    if not path.is_file():
        return {}
    found = read_json(path, "the labels of these parents")
    return cast(dict[str, list[Label]], found)
