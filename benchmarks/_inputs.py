"""Data and parents that several benchmarks use."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def balanced(data: Any, samples: int, seed: int = 0) -> Any:
    """`samples` of the data, balanced over its classes; all of them where there are no more."""
    from fusion_engine.data import balanced_sample

    return data if samples >= len(data) else data.subset(balanced_sample(data, samples // data.classes, seed=seed))


def cifar10(folder: Path) -> tuple[Any, Any]:
    """Training and test images."""
    from fusion_engine import load_data

    return load_data(folder / "cifar10-train-10000.npz"), load_data(folder / "cifar10-test-2000.npz")


def published_mnist(folder: Path) -> tuple[list[Any], Any, Any]:
    """The parents published with the neuron interpolation paper, 400 calibration samples, and test data."""
    from fusion_engine import load_data, load_parents

    parents = load_parents(sorted((folder / "mnist-mlp-noniid2").glob("parent_*.safetensors")))
    return parents, load_data(folder / "mnist-calibration-400.npz"), load_data(folder / "mnist-test-9600.npz")


def trained_once(paths: Sequence[Path], train: Callable[[], Sequence[Any]]) -> list[Any]:
    """The parents in these files, which `train` makes where they are missing."""
    from fusion_engine import load_parents
    from fusion_engine.parents import save_parent

    if not all(path.exists() for path in paths):
        print(f"training {len(paths)} parents (once; may take minutes)", file=sys.stderr, flush=True)
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, parent in zip(paths, train(), strict=True):
            save_parent(path, parent)
    return load_parents(paths)
