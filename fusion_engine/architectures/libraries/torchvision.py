"""Networks of torchvision, by the names of its registry: torchvision:resnet50."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import nn

from .by_name import ByName, keywords
from .importing import library
from .registry import Library, add_library

_WITH_AUX: Final = ("googlenet", "inception_v3")
_AUX: Final = re.compile(r"(^|\.)(aux[12]|AuxLogits)\.")
_SIDES: Final = {"inception_v3": 299}
_VIDEOS: Final = ("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_", "swin3d_")
_ELSEWHERE: Final = ("quantized_", "raft_")
_DETECTORS: Final = ("rcnn", "retinanet", "fcos", "ssd")


def _names() -> list[str]:
    known = library("torchvision").models.list_models()
    return [n for n in known if not n.startswith(_ELSEWHERE) and not any(part in n for part in _DETECTORS)]


def _make(model: str, settings: Mapping[str, Any]) -> nn.Module:
    models = library("torchvision").models
    taken = inspect.signature(models.get_model_builder(model)).parameters
    weights = {key: None for key in taken if key.startswith("weights")}
    extra = {"init_weights": False} if model in _WITH_AUX else {}
    module: nn.Module = models.get_model(model, **weights, **extra, **keywords(settings))
    return module


def _told(model: str, names: Sequence[str]) -> dict[str, Any]:
    """Auxiliary heads are in the file or not."""
    if model in _WITH_AUX:
        return {"aux_logits": any(_AUX.search(name) for name in names)}
    if any("aux_classifier." in name for name in names):
        return {"aux_loss": True}
    return {}


def _usual(model: str, module: nn.Module) -> tuple[int, ...]:
    side = _SIDES.get(model, 224)
    return (3, 16, side, side) if model.startswith(_VIDEOS) else (3, side, side)


def _assumed(model: str, settings: Mapping[str, Any]) -> dict[str, str]:
    if model not in _WITH_AUX or "transform_input" in settings:
        return {}
    return {
        "transform_input": "transform_input=false assumed; the weights do not tell: torchvision's own pretrained ones "
        f"need --arch torchvision:{model}:transform_input=true"
    }


def _sides(model: str) -> tuple[str, ...]:
    return ("image_size",) if model.startswith("vit_") else ("input_size",) if model.startswith("maxvit") else ()


_TORCHVISION: Final = ByName(
    "torchvision", _make, _names, _told, _usual, _assumed, sides=_sides,
    reserved=frozenset({"weights", "weights_backbone", "progress", "pretrained", "init_weights"}),
)
add_library(Library("torchvision", "torchvision", _TORCHVISION.match, _TORCHVISION.build, _names))
