"""Writing and reading the results of runs. Arrays are NumPy; pickled objects are refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fusion_engine.core.errors import StoreError
from fusion_engine.core.types import Grouping

from .files import publish, read_json, write_bytes
from .runs import result_path
from .shapes import Exploration

if TYPE_CHECKING:
    import numpy as np

@dataclass(frozen=True)
class StoredGrouping:
    """The grouping of one space as a run keeps it; lists have one array a parent.

    labels: (n_p,) int64 group of each neuron (-1: none), None for soft groupings. importance: (n_p,) float64.
    merge: (n, n_p), unmerge: (n_p, n) float64.
    """

    merge: list[np.ndarray]
    unmerge: list[np.ndarray]
    labels: list[np.ndarray] | None
    importance: list[np.ndarray] | None


def own_seconds(report: Mapping[str, Any]) -> float:
    """What a fusion takes by itself: what was spent, and what earlier ones had spent on parts of it."""
    return float(report["seconds"]["total"] + report["seconds"].get("shared", 0.0))


def write_result(
    folder: Path,
    recipe_yaml: str,
    report: Mapping[str, Any],
    groupings: Mapping[str, Grouping],
    importance: Mapping[str, Sequence[np.ndarray]],
    unedited: Mapping[str, Grouping] | None = None,
) -> None:
    """Write recipe.yaml, report.json and groupings.npz of a fusion into `folder`, together, and unedited.npz where
    some were edited.

    importance: space -> one (n_p,) array a parent; spaces without a grouping (the classes) are not kept. unedited: of
    the edited spaces, the groupings before.
    """
    files = {
        folder / "recipe.yaml": recipe_yaml.encode(),
        folder / "groupings.npz": _packed(groupings, importance),
        folder / "report.json": json.dumps(report, indent=1, allow_nan=False).encode(),
    }
    if unedited:
        files[folder / "unedited.npz"] = _packed(unedited, importance)
    publish(files)


def write_predictions(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write predictions.npz: networks (m,) text, labels (N,) int32, predicted (m, N) int32, confidence (m, N) float16.
    """
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(folder / "predictions.npz", buffer.getvalue())


def _packed(groupings: Mapping[str, Grouping], importance: Mapping[str, Sequence[np.ndarray]]) -> bytes:
    """As `np.savez_compressed` writes it, array by array: large ones are made as they are read."""
    import numpy as np

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for space, grouping in groupings.items():
            parts = {"merge": grouping.merge, "unmerge": grouping.unmerge, "labels": grouping.labels}
            for part, values in (parts | {"importance": importance.get(space)}).items():
                for p, value in enumerate(values or ()):
                    with archive.open(f"{space}|{part}|{p}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
    return buffer.getvalue()


def read_report(run: str) -> dict[str, Any]:
    """report.json of a finished fuse run."""
    return dict(read_json(result_path(run, "report.json"), f"the report of run {run}"))


def read_result(run: str) -> dict[str, Any]:
    """result.json of a finished run of any other kind."""
    return dict(read_json(result_path(run, "result.json"), f"the result of run {run}"))


def read_leaderboard(run: str) -> dict[str, Any]:
    """leaderboard.json of a leaderboard run, which is there once the run is planned and grows with every row."""
    return dict(read_json(result_path(run, "leaderboard.json"), f"the leaderboard of run {run}"))


def read_search(run: str) -> dict[str, Any]:
    """search.json of a search, which is there once it is planned and grows with every trial."""
    return dict(read_json(result_path(run, "search.json"), f"the search of run {run}"))


def read_explore(run: str) -> Exploration:
    """explore.json of a finished explore or fuse run."""
    return cast(Exploration, read_json(result_path(run, "explore.json"), f"the exploration of run {run}"))


def read_arrays(run: str, name: str, prefix: str = "") -> dict[str, np.ndarray]:
    """Arrays of a result .npz whose names start with `prefix`, which is removed; the rest stays on disk."""
    return _read(result_path(run, name), prefix)


def _read(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key[len(prefix) :]: archive[key] for key in archive.files if key.startswith(prefix)}
    except (OSError, ValueError):
        raise StoreError(f"{path.name} of this run is damaged; run it again") from None


def read_groupings(run: str, space: str | None = None, *, unedited: bool = False) -> dict[str, StoredGrouping]:
    """groupings.npz of a finished fuse run: space name -> grouping; only `space` if it is given. unedited: those of
    edited spaces before their edits, of a run with edits that change something."""
    return groupings_in(result_path(run, "unedited.npz" if unedited else "groupings.npz"), space)


def groupings_in(path: Path, space: str | None = None) -> dict[str, StoredGrouping]:
    """A groupings.npz anywhere, as `read_groupings` gives it. StoreError if it is damaged."""
    arrays = _read(path, f"{space}|" if space is not None else "")
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    try:
        for key in sorted(arrays, key=lambda k: (k.rsplit("|", 1)[0], int(k.rsplit("|", 1)[1]))):
            name, part, _ = (f"{space}|{key}" if space is not None else key).rsplit("|", 2)
            found.setdefault(name, {}).setdefault(part, []).append(arrays[key])
        return {
            name: StoredGrouping(parts["merge"], parts["unmerge"], parts.get("labels"), parts.get("importance"))
            for name, parts in found.items()
        }
    except (IndexError, KeyError, ValueError):
        raise StoreError(f"{path.name}: these are no groupings of a fusion") from None
