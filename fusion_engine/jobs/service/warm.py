"""Loaded by each worker as it starts (a Dask preload): pays for slow imports before the first job comes."""

import asyncio
import os
import platform
import threading
from importlib import metadata
from typing import Any

from fusion_engine import __version__, store
from fusion_engine.store.files import write_json

from ..shapes import Catalogue

_UMAP_DELAY = 3.0  # seconds

async def dask_setup(worker: Any) -> None:
    """Called by Dask before the worker takes jobs."""
    light = str(worker.name).startswith("light")
    await asyncio.get_running_loop().run_in_executor(None, _warm, light)


def _warm(light: bool) -> None:
    import torch

    from fusion_engine.data import load_data

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if light:
        write_json(store.home() / "catalogue.json", make_catalogue())
    warm_tracing()
    load_data("digits:train")  # loads scikit-learn's part of it
    if light:
        # UMAP compiles for two seconds. Nobody asks for it first, so the first jobs go ahead of it.
        timer = threading.Timer(_UMAP_DELAY, _warm_umap)
        timer.daemon = True
        timer.start()


def warm_tracing() -> None:
    """Import what a fusion needs and trace a tiny model: torch.export loads half of PyTorch at its first use.

    The objects that stay are then kept out of garbage collection, whose full rounds would scan them all again (0.2 s).
    """
    import gc

    import torch
    from torch import nn

    import fusion_engine.pipeline  # noqa: F401 - the import is the point
    from fusion_engine.core import registry
    from fusion_engine.graph import trace

    registry.catalogue()  # loads the methods
    trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval(), (torch.zeros(2, 4),))
    gc.collect()
    gc.freeze()


def _warm_umap() -> None:
    import numpy as np

    from fusion_engine.embedding import umap_coordinates

    umap_coordinates(np.random.default_rng(0).normal(size=(32, 4)))


def make_catalogue() -> Catalogue:
    """What forms are drawn from."""
    import torch

    from fusion_engine.core import registry
    from fusion_engine.presets import recipes

    devices = ["cpu"]
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        "version": __version__,
        "methods": registry.catalogue(),
        "presets": [preset.as_json() for preset in recipes().values()],
        "versions": versions(),
        "devices": devices,
    }


def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    packages = ["torch", "numpy", "scipy", "scikit-learn", "umap-learn", "POT"]
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}
