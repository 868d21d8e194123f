"""A selection as a file, and a file as a selection."""

import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion_engine.core.errors import FusionError

from ..plane.projection import Projection
from ..shared.space import SpaceView
from . import selection

SHOWN = ("neuron", "parent", "index", "group", "importance", "mean", "std", "labels")
_LARGEST = 8 * 2**20

Labels = Sequence[tuple[str, np.ndarray]]


def rows(view: SpaceView, chosen: np.ndarray, labels: Labels, shown: Projection | None = None) -> list[dict[str, Any]]:
    """A row for each neuron: what it is called, what was measured of it, its labels; with `shown` its coordinates."""
    arrays = view.arrays
    places = {} if shown is None else {int(i): place for place, i in enumerate(shown.index)}
    named: dict[int, list[str]] = {}
    for name, members in labels:
        for i in members.tolist():
            named.setdefault(i, []).append(name)
    found = []
    for i in chosen.tolist():
        neuron = view.neuron_of(i)
        row: dict[str, Any] = {
            "neuron": view.label(i), "parent": view.names[neuron.parent], "parent_number": neuron.parent,
            "index": neuron.index, "space": str(view.space["name"]), "group": int(arrays["group"][i]),
            **{name: float(arrays[name][i]) for name in ("importance", "mean", "std")},
            "labels": "; ".join(named.get(i, [])),
        }
        if shown is not None:
            point = shown.coordinates[places[i]].tolist() if i in places else [None] * len(shown.axes)
            row |= dict(zip(shown.axes, point, strict=True))
        found.append(row)
    return found


def as_csv(view: SpaceView, chosen: np.ndarray, labels: Labels, shown: Projection) -> bytes:
    """Comma-separated, with a line of names; text that a spreadsheet would take for a formula is quoted."""
    listed = rows(view, chosen, labels, shown)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(listed[0]) if listed else ["neuron"], lineterminator="\n")
    writer.writeheader()
    for row in listed:
        writer.writerow({key: _inert(value) for key, value in row.items()})
    return buffer.getvalue().encode()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def as_json(view: SpaceView, chosen: np.ndarray, labels: Labels, shown: Projection) -> bytes:
    return json.dumps(
        {
            "space": str(view.space["name"]), "parents": list(view.names), "run": view.run,
            "axes": list(shown.axes), "neurons": rows(view, chosen, labels, shown),
        },
        indent=1,
    ).encode()


def stem(parents: str, view: SpaceView) -> str:
    """A file name without ending: the parent set and the space."""
    parts = (re.sub(r"[^A-Za-z0-9_.-]+", "-", part).strip("-.") for part in (parents, str(view.space["name"])))
    return "_".join([*(part[:60] for part in parts if part), "neurons"])


def read_file(view: SpaceView, name: str, content: bytes) -> np.ndarray:
    """(m,) indices of the neurons that a file names: CSV or JSON as written here, or text. FusionError in one line for
    what is none of these, is of another space, or names what this space has not."""
    if len(content) > _LARGEST:
        raise FusionError(f"a selection has at most {_LARGEST // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise FusionError("this file is no text; give CSV, JSON or a list of neurons") from None
    if name.lower().endswith(".json"):
        listed = _of_json(text)
    elif name.lower().endswith(".csv"):
        listed = list(csv.DictReader(io.StringIO(text)))
        if not listed or "index" not in listed[0]:
            raise FusionError("this CSV has no column 'index'; give one with 'parent_number' and 'index', as exported")
    else:
        return selection.read(view, text)
    for row in listed:
        if row.get("space", view.space["name"]) != view.space["name"]:
            raise FusionError(f"this file names neurons of space {row['space']!r}; open that space first")
    return selection.read(view, [f"{row.get('parent_number', row.get('parent'))}:{row.get('index')}" for row in listed])


def _of_json(text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise FusionError("this file is no JSON") from None
    listed = found.get("neurons") if isinstance(found, dict) else found
    if not isinstance(listed, list) or not all(isinstance(row, dict) for row in listed):
        raise FusionError("this JSON has no list 'neurons' of objects with 'parent_number' and 'index'")
    return listed
