"""Small hand-made contents of a store, in the shapes that docs/architecture.md gives."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from fusion_engine import __version__, store
from fusion_engine.store.files import write_bytes, write_json

PARENTS = "a" * 32
DATA = "d" * 32
KINDS = ("importance", "grouping", "solver", "post")


def parameter(name: str, kind: str, default: Any, **changes: Any) -> dict[str, Any]:
    base = {
        "name": name, "type": kind, "default": default, "help": f"what {name} does", "label": name.capitalize(),
        "optional": False, "ge": None, "le": None, "choices": None, "words": [], "expert": False,
    }
    return base | changes


def method(kind: str, name: str, parameters: tuple[dict[str, Any], ...] = (), **changes: Any) -> dict[str, Any]:
    base = {
        "kind": kind, "name": name, "title": f"{name} method", "summary": f"Summary of {name}.", "citation": "",
        "needs": [], "scope": "space", "min_parents": 1, "max_parents": None, "accepts": None, "pairs": False,
        "statistics": False, "widths": "equal" if changes.get("pairs") else "any", "parameters": list(parameters),
    }
    return base | changes


def catalogue() -> dict[str, Any]:
    tries = parameter("tries", "int", 3, ge=1, le=50)
    ridge = parameter("ridge", "float", "auto", ge=0.0, le=10.0, words=["auto"])
    ratio = parameter("ratio", "float", 0.5, ge=0.0, le=1.0, by_space=True)
    head = parameter("head_weights", "str", "uniform", choices=["uniform", "class_share", "importance"])
    methods = {
        "importance": [method("importance", "activation"), method("importance", "conductance", needs=["labels"])],
        "grouping": [
            method("grouping", "kmeans", (tries,)), method("grouping", "hungarian", max_parents=2, pairs=True),
            method("grouping", "identity"), method("grouping", "partial", (ratio,)),
        ],
        "solver": [
            method("solver", "least_squares", (ridge, head)), method("solver", "average"),
            method("solver", "picky", accepts=["hungarian"]),
            method("solver", "vectors", needs=["base", "weights"], accepts=["identity"]),
            method("solver", "gradient", (parameter("levels", "str", "auto"), parameter("epochs", "int", 9))),
        ],
        "post": [
            method("post", "polish", (parameter("rate", "float", 0.01, ge=0.0), parameter("mix", "bool", True))),
            method("post", "learn", needs=["labels"], accepts=["average"]),
        ],
    }
    presets = [
        {"name": "kf_linear", "title": "k-means fusion", "citation": "Someone 2025", "summary": "Try this first.",
         "recipe": {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"}},
        {"name": "average", "title": "Plain average", "citation": "", "summary": "The baseline.",
         "recipe": {"importance": "activation", "grouping": "identity", "solver": "average"}},
        {"name": "pairs", "title": "Pairs", "citation": "", "summary": "For two.",
         "recipe": {"importance": "activation", "grouping": "hungarian", "solver": "average"}},
        {"name": "vectors", "title": "Task vectors", "citation": "", "summary": "For parents of one start.",
         "recipe": {"importance": "activation", "grouping": "identity", "solver": "vectors"}},
    ]
    return {"version": __version__, "methods": methods, "presets": presets, "versions": {}, "devices": ["cpu"]}


def add_catalogue() -> None:
    store.home().mkdir(parents=True, exist_ok=True)
    (store.home() / "catalogue.json").write_text(json.dumps(catalogue()))


def add_parents(identifier: str = PARENTS, name: str = "my set", count: int = 2, known: bool = True) -> str:
    layers = [{"name": "fc0", "shape": [6, 64], "parameters": 390}, {"name": "fc1", "shape": [3, 6], "parameters": 21}]
    parents = [
        {"name": f"parent_{p}", "file": f"parent_{p}.safetensors", "architecture": "mlp", "digest": "0",
         "layers": layers, "parameters": 411, "class_counts": [10 * p + 5, 20, 30 - 3 * p] if known else None}
        for p in range(count)
    ]
    summary = {
        "id": identifier, "name": name, "architecture": "mlp", "classes": 10, "input_shape": [64], "created": 1.0,
        "parents": parents, "warnings": [],
    }
    store.save_parents(identifier, lambda folder: None, summary)
    return identifier


def add_data(identifier: str = DATA, name: str = "my data", labelled: bool = True) -> str:
    summary = {
        "id": identifier, "name": name, "samples": 30, "shape": [64], "dtype": "uint8", "classes": 3,
        "counts": [10, 20, 0] if labelled else None, "labelled": labelled, "mean": [0.0], "std": [1.0], "created": 1.0,
    }
    store.save_data(identifier, lambda folder: None, summary)
    return identifier


def add_run(kind: str, arguments: dict[str, Any], state: str = "done", error: str | None = None) -> str:
    run = store.create_run(kind, arguments)
    if state != "queued":
        store.write_status(run, "running")
    if state not in ("queued", "running"):
        store.write_status(run, state, error)
    return run


def measured(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "loss": 0.3, "per_class": [accuracy, 0.5, 1.0]}


def report(fused: float | None = 0.912) -> dict[str, Any]:
    """A fuse run's report.json; without accuracies (fused=None) as it is where there was no test data."""
    references = {
        "parents": [{"file": f"parent_{p}", **measured(accuracy)} for p, accuracy in enumerate((0.8, 0.7))],
        "average": measured(0.45), "ensemble": measured(0.9), "softmax_ensemble": measured(0.93),
        "fused": measured(fused),
    } if fused is not None else {}
    return {
        **references,
        "seconds": {"load": 0.0, "verify": 0.1, "importance": 0.2, "grouping": 0.1, "solve": 0.3, "total": 0.7},
        "peak_memory_mb": 512.0, "seed": 0, "warnings": [], "levels": [], "versions": {},
        "spaces": [{"name": "fc0", "size": 6, "freedom": "perm", "grouping": "kmeans"}],
        "recipe": {
            "name": "kf_linear", "importance": {"method": "activation"}, "grouping": {"method": "kmeans", "tries": 3},
            "solver": {"method": "least_squares", "ridge": "auto", "head_weights": "uniform"}, "post": [],
        },
    }


def epoch(level: int, number: int, loss: float, held_out: float, levels: int = 3) -> dict[str, Any]:
    """The detail of a progress event of level-by-level training."""
    return {"level": f"fc{level}", "index": level, "levels": levels, "epoch": number, "epochs": 10, "loss": loss,
            "held_out": held_out}


def trained() -> dict[str, Any]:
    """The decisions of a solver that trained three levels, one of them in vain."""
    def step(level: int, kept: str, reason: str = "") -> dict[str, Any]:
        curve = [[e, 0.5 / (e + 1), 0.6 / (e + 1)] for e in range(1, 6)]
        return {"level": f"fc{level}", "rate": 0.01, "epochs": 5, "held_out_before": 0.6, "held_out_after": 0.1,
                "kept": kept, "reason": reason, "curve": curve}

    steps = [step(0, "trained"), step(1, "least_squares", "the loss diverged"), step(2, "trained")]
    return {"gradient": {"levels": {"spec": "0,1,2", "why": "each level as it was found"}, "steps": steps}}


def space_arrays(neurons: int = 6, parents: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    total = neurons * parents
    group = np.tile(np.arange(neurons), parents)
    importance = rng.random(total) + 0.1
    return {
        "parent": np.repeat(np.arange(parents), neurons), "neuron": group.copy(), "importance": importance,
        "group": group, "pca": rng.normal(size=(total, 3)).astype(np.float32), "mean": rng.normal(size=total),
        "std": rng.random(total), "neighbours": (np.arange(total)[:, None] + np.arange(1, 6)) % total,
        "correlation": np.linspace(0.9, 0.5, 5, dtype=np.float32)[None].repeat(total, 0),
        "group_members": np.ones((neurons, parents), np.int64),
        "group_importance": np.bincount(group, importance), "group_error": rng.random(neurons),
    }


def covariance(total: int = 12) -> np.ndarray:
    """Mates are alike by 0.5, those of group 2 by -0.2; neurons 0 and 7, of different groups, by 0.9."""
    found = np.eye(total) + 0.5 * np.eye(total, k=total // 2) + 0.5 * np.eye(total, k=-total // 2)
    found[0, 7] = found[7, 0] = 0.9
    found[2, 8] = found[8, 2] = -0.2
    return found


def verdict() -> dict[str, Any]:
    group = {"group": 4, "share": 0.3, "lost": 0.8}
    return {
        "groups": 6, "mixed": 6, "several": 0, "one_parent": 0, "single": 0, "empty": 0, "cost": 0.4,
        "concentration": 0.5, "first": {"group": 2, "share": 0.4, "lost": 0.1}, "worst_groups": [group],
        "severity": "fair",
        "worst_neurons": [{"neuron": "1:3", "share": 0.2, "lost": 0.7}], "sentence": "0 of 6 groups hold one neuron.",
    }


def explore_json() -> dict[str, Any]:
    def space(index: int, name: str) -> dict[str, Any]:
        return {
            "index": index, "name": name, "level": index, "size": 6, "sizes": [6, 6], "freedom": "perm", "block": False,
            "kind": "linear", "weight": f"{name}.weight", "shape": [6, 64], "variance": [0.5, 0.3, 0.1], "hard": True,
            "error": 0.12, "verdict": verdict(),
        }

    return {
        "parents": ["parent_0", "parent_1"], "classes": 3, "samples": 30, "seed": 0, "labelled": True,
        "importance": {"method": "activation"}, "grouping": {"method": "kmeans"}, "warnings": [], "seconds": 0.1,
        "spaces": [space(0, "fc0"), space(1, "fc1")],
        "levels": [
            {"index": i, "name": f"level {i}", "spaces": [f"fc{i}"], "layers": [], "output_shape": [6]} for i in (0, 1)
        ],
        "verdict": {"severity": "fair", "worst": ["fc1", "fc0"], "sentence": "2 of 2 spaces are grouped fairly."},
    }


def archive(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def add_exploration(run: str) -> None:
    folder = store.run_folder(run)
    write_json(folder / "explore.json", explore_json())
    arrays = {f"{i}/{k}": v for i in (0, 1) for k, v in space_arrays().items()}
    write_bytes(folder / "explore.npz", archive(arrays))
    write_bytes(folder / "features.npz", archive({f"{i}/covariance": covariance() for i in (0, 1)}))


def add_fusion(fused: float | None = 0.912, **arguments: Any) -> str:
    run = add_run("fuse", {"parents": PARENTS, "data": "digits:train", "test": "digits:test", "recipe": "kf_linear",
                           "seed": 0} | arguments)
    folder = store.run_folder(run)
    write_json(folder / "report.json", report(fused))
    write_bytes(folder / "recipe.yaml", b"name: kf_linear\n")
    write_bytes(folder / "fused.safetensors", b"weights")
    add_exploration(run)
    return run


def preflight(ok: bool = True) -> dict[str, Any]:
    """The preflight of a chain of three levels, or of two parents that do not fit together."""
    cell = {"ok": True, "reason": ""}
    bad = cell if ok else {"ok": False, "reason": "layer fc0: 6 x 64 in one and 8 x 64 in the other"}
    verdict = {"operation": "", "module": ""}
    return {
        "ok": ok, "error": None if ok else "layer fc0 differs: give parents of one shape",
        "parents": [{"name": "parent_0", **cell, **verdict}, {"name": "parent_1", **bad, **verdict}],
        "matrix": [[cell, bad], [bad, cell]],
        "spaces": [space("fc0", 6, [0, 1]), space("fc1", 6, [1, 2])] if ok else [],
        "levels": [level(i, f"fc{i}") for i in range(3)] if ok else [],
        "layers": [
            {"name": f"fc{i}", "kind": "linear", "space": f"fc{i}" if i < 2 else None, "weight": f"fc{i}.weight",
             "shape": [6, 6], "parameters": 42, "level": i} for i in range(3)
        ] if ok else [],
        "verify": {"fc0": 2e-16, "fc1": 2e-16} if ok else {}, "seconds": 0.1, "warnings": [],
    }


def level(index: int, name: str, **changes: Any) -> dict[str, Any]:
    base = {
        "index": index, "name": name, "layers": [name], "tensors": [f"{name}.weight", f"{name}.bias"],
        "output_shape": [-1, 6], "parameters": 42, "spaces": [],
    }
    return base | changes


def space(name: str, size: int, levels: list[int], **changes: Any) -> dict[str, Any]:
    base = {
        "name": name, "size": size, "sizes": [size, size], "freedom": "perm", "block": False, "inside": None,
        "level": levels[0], "levels": levels, "members": [{"tensor": f"{name}.weight", "dims": [0], "role": "out"}],
    }
    return base | changes


def url(app: Any, key: str) -> str | None:
    """A URL parameter of a tested app, which AppTest gives as text or as a list of one."""
    value = app.query_params.get(key, None)
    return value[0] if isinstance(value, list) else value
