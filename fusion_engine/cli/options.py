"""Options that several commands have, declared once."""

import argparse
from pathlib import Path
from typing import Any, Final

from fusion_engine.core.types import TASKS

_FILES: Final = (
    "weights: safetensors, a file of torch.save or torch.export.save under any name, an index of shards, or a Hugging "
    "Face folder"
)
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "parents": {"nargs": "+", "metavar": "PARENT", "help": _FILES},
    "models": {"nargs": "+", "metavar": "MODEL", "help": _FILES},
    "--arch": {
        "default": "auto", "metavar": "SPEC",
        "help": "auto (default: what the file says, else recognised), a built-in name, also with settings "
        "(vit:heads=4,norm=post), a library's (torchvision:resnet50, timm:NAME:num_classes=10, hf or hf:FOLDER for a "
        "config.json), or package.module:callable that returns an nn.Module",
    },
    "--weights": {
        "metavar": "NAME",
        "help": "which weights, of files that hold several: ema for averaged ones, or the key or prefix they are under",
    },
    "--samples": {
        "type": int, "metavar": "N", "help": "draw N calibration samples, balanced over classes (default: all)",
    },
    "--seed": {"type": int, "default": 0, "help": "seed of everything random (default 0)"},
    "--task": {
        "default": "auto", "choices": ("auto", *TASKS),
        "help": "what the outputs are for: auto (default: told by the labels' type and shape and the outputs' shape), "
        "or one of " + ", ".join(TASKS),
    },
    "--device": {"default": "cpu", "help": "cpu (default), cuda or mps"},
    "--report": {"type": Path, "metavar": "FILE.json", "help": "where the report goes"},
}


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare the options of these names, in this order."""
    for name in names:
        parser.add_argument(name, **_OPTIONS[name])
