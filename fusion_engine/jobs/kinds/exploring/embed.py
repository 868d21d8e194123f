"""Job embed: UMAP of one space's neurons, from the features an explore or fuse run has kept."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_engine import store
from fusion_engine.core.errors import JobError
from fusion_engine.core.progress import Progress
from fusion_engine.core.registry import nearest
from fusion_engine.embedding import METRICS, Embedding, umap_coordinates
from fusion_engine.store.files import write_bytes, write_json

from ...inputs import whole_number
from ...shapes import Embedded


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Embed, or take the picture of the same features from the cache; see docs/architecture.md."""
    spaces = {space["name"]: space["index"] for space in store.read_explore(arguments["run"])["spaces"]}
    name = arguments["space"]
    if name not in spaces:
        raise JobError(f"this run has no space {name!r}{nearest(name, spaces)}")
    features = store.read_arrays(arguments["run"], "features.npz", str(spaces[name]) + "/")["coordinates"]
    neighbours = whole_number(arguments, "neighbours", 15, 2, 200)
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    min_dist = arguments.get("min_dist", 0.1)
    if isinstance(min_dist, bool) or not isinstance(min_dist, int | float) or not 0 <= min_dist <= 1:
        raise JobError(f"min_dist must be a number from 0 to 1, not {min_dist!r}")
    dimensions = whole_number(arguments, "dimensions", 2, 2, 3)
    metric = arguments.get("metric", METRICS[0])
    if metric not in METRICS:
        raise JobError(f"there is no metric {metric!r}{nearest(str(metric), METRICS)}; there are {', '.join(METRICS)}")
    progress.part(0.0, 1.0, "embed").report(0.1, f"UMAP of {len(features):,} neurons")
    text = json.dumps([neighbours, min_dist, metric, dimensions, seed, list(features.shape)]).encode()
    key = hashlib.sha256(text + np.ascontiguousarray(features).tobytes()).hexdigest()[:32]
    cached = store.folder("cache") / f"umap-{key}.npz"
    found = _read(cached)
    if found is None:
        found = umap_coordinates(
            features, neighbours=neighbours, min_dist=min_dist, metric=metric, dimensions=dimensions, seed=seed
        )
        write_bytes(cached, _packed(found))
    write_bytes(folder / "embed.npz", _packed(found))
    result: Embedded = {
        "method": found.method, "note": found.note, "space": name, "total": len(features), "shown": len(found.index),
    }
    write_json(folder / "result.json", result)


def _packed(found: Embedding) -> bytes:
    buffer = io.BytesIO()
    method, note = np.array(found.method), np.array(found.note)
    np.savez(buffer, coordinates=found.coordinates, index=found.index, method=method, note=note)
    return buffer.getvalue()


def _read(path: Path) -> Embedding | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return Embedding(
                archive["coordinates"], archive["index"], str(archive["method"]), str(archive["note"])
            )
    except (OSError, ValueError, KeyError):
        return None
