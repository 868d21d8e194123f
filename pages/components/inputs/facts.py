"""What the chosen parents and data offer a recipe."""

from collections.abc import Mapping
from typing import Any

from fusion_engine import store
from fusion_engine.core.capability import Facts

from ..shared import state
from .base_model import base_model, shapes
from .pickers import BUILT_IN


def facts(summary: Mapping[str, Any]) -> Facts:
    """The number of these parents and what is known of them, of the calibration data and the base model in the URL."""
    data, parents = state.get("data"), summary["parents"]
    offered = {
        "labels": data in BUILT_IN or bool(store.read_data_summary(data)["labelled"]),
        "class_counts": all(parent["class_counts"] for parent in parents), "base": bool(base_model(summary)),
    }
    widths = [shapes(parent) for parent in parents]
    available = frozenset(name for name, there in offered.items() if there)
    return Facts(len(parents), available, all(width == widths[0] for width in widths))
