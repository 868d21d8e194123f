"""Networks of timm, by the names of its registry: timm:vit_tiny_patch16_224."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from torch import nn

from ..registry import Match
from .by_name import ByName, keywords
from .importing import library
from .registry import Library, Request, add_library


def _names() -> list[str]:
    return list(library("timm").list_models())


def _make(model: str, settings: Mapping[str, Any]) -> nn.Module:
    module: nn.Module = library("timm").create_model(model, pretrained=False, **keywords(settings))
    return module


def _told(model: str, names: Sequence[str]) -> dict[str, Any]:
    return {}


def _usual(model: str, module: nn.Module) -> tuple[int, ...]:
    about = getattr(module, "pretrained_cfg", None) or {}
    return tuple(int(n) for n in about.get("input_size", (3, 224, 224)))


def _assumed(model: str, settings: Mapping[str, Any]) -> dict[str, str]:
    return {}


_TIMM: Final = ByName(
    "timm", _make, _names, _told, _usual, _assumed, channels="in_chans", sides=lambda model: ("img_size",),
    reserved=frozenset({
        "pretrained", "checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict",
        "features_only", "model_name", "scriptable", "exportable", "no_jit",
    }),
    words=frozenset({"global_pool", "act_layer", "norm_layer", "class_token", "pool_type"}),
)


def _match(request: Request) -> Match:
    """The tag after a name, as in vit_tiny_patch16_224.augreg_in21k, is of pretrained weights, not of the network."""
    return _TIMM.match(replace(request, model=request.model.partition(".")[0]))


add_library(Library("timm", "timm", _match, _TIMM.build, _names))
