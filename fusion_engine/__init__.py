"""Neuron Fusion Lab's engine. Names load lazily (PEP 562), so importing the package costs nothing.

    from fusion_engine import load_parents, load_data, fuse, recipes
    result = fuse(parents, data, recipe="kf_linear", seed=0, on_progress=print)
    result.model, result.report, result.groupings["fc1"], result.save("runs/x")
"""

from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "load_parents": "fusion_engine.parents",
    "load_data": "fusion_engine.data",
    "fuse": "fusion_engine.pipeline",
    "analyse": "fusion_engine.analysis",
    "difference": "fusion_engine.analysis",
    "recipes": "fusion_engine.presets",
    "evaluate": "fusion_engine.evaluation",
    "search": "fusion_engine.tuning",
    "export_bundle": "fusion_engine.jobs.bundle",
    "import_bundle": "fusion_engine.jobs.bundle",
    "write_html_report": "fusion_engine.sharing.html_report",
    "trace": "fusion_engine.graph",
    "find_runs": "fusion_engine.store",
    "describe_run": "fusion_engine.store",
    "beside": "fusion_engine.store",
    "Recipe": "fusion_engine.core.recipe",
    "FusionError": "fusion_engine.core.errors",
    "Cancelled": "fusion_engine.core.errors",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
