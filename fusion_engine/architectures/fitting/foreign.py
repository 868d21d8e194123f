"""Tensors that lie in state dicts beside a network's: of losses, metrics, counters, profilers; and averaged copies."""

import itertools
import re
from collections.abc import Iterable
from typing import Final

from torch import Tensor

# Words in names. Of losses and metrics whole networks may be kept (perceptual losses), of the others vectors at most.
_LOSSES: Final = frozenset({
    "loss", "losses", "criterion", "criterions", "criteria", "objective", "metric", "metrics", "lpips", "confmat",
    "confusion", "accuracy", "auroc", "auc", "meter", "meters",
})
_SMALL: Final = frozenset({
    "acc", "acc1", "acc5", "top1", "top5", "f1", "f1score", "precision", "recall", "auprc", "mse", "mae", "rmse",
    "psnr", "ssim", "fid", "iou", "miou", "dice", "kappa", "ece", "perplexity", "correct", "total", "counter", "count",
    "step", "steps", "epoch", "epochs", "iteration", "iterations", "decay", "updates", "tp", "fp", "tn", "fn", "ops",
    "params",
})
_WHOLE: Final = frozenset({
    "pos_weight", "class_weight", "class_weights", "loss_weight", "loss_weights", "n_averaged", "num_updates",
    "global_step", "total_ops", "total_params", "best_acc", "best_loss",
})
_AVERAGED: Final = frozenset({"ema", "emas", "swa", "averaged", "polyak", "lawa"})
_WORDS: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+")
_SHOWN = 4


def is_foreign(name: str, tensor: Tensor) -> bool:
    """Whether a tensor's name says that it is of a loss, a metric or a counter, and so hardly the network's. Only asked
    of tensors that the network can do without."""
    segments = name.split(".")
    if segments[-1] == "num_batches_tracked":
        return False
    words = {word for segment in segments for word in _words(segment)}
    if words & _LOSSES or _WHOLE & set(segments):
        return True
    is_counter = tensor.ndim == 0 and not tensor.is_floating_point()
    return tensor.ndim < 2 and bool(is_counter or words & _SMALL)


def is_averaged(name: str) -> bool:
    """Whether a name, of a state dict in a checkpoint or of a module, says that it holds averaged weights."""
    words = _words(name)
    return bool(_AVERAGED & set(words)) or ("avg", "model") in itertools.pairwise(words)


def averaged(name: str) -> str | None:
    """The part of a tensor's name, up to and with the module of averaged weights that holds it; None if none does."""
    segments = name.split(".")[:-1]
    place = next((i for i, segment in enumerate(segments) if is_averaged(segment)), None)
    return None if place is None else ".".join(segments[: place + 1])


def offered(place: str) -> str:
    """The note on averaged weights that were not read. place: the key, or the prefix of names, that they are under."""
    return f"the file also holds averaged weights ({place}), which were not read; choose them by 'ema' (--weights ema)"


def listed(names: Iterable[str]) -> str:
    """Names for a line: the first few, and how many more there are."""
    known = list(names)
    rest = len(known) - _SHOWN
    return ", ".join(map(repr, known[:_SHOWN])) + (f" and {rest} more" if rest > 0 else "")


def _words(segment: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(segment)]
