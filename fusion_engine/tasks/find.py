"""Which task a data set and a network's outputs make."""

from __future__ import annotations

import torch

from ..core.errors import DataError
from ..data import IGNORED, Dataset
from .base import Task
from .binary import Binary
from .classification import Classification
from .language import Language
from .positions import Positions
from .regression import Regression


def find_task(data: Dataset, outputs: tuple[int, ...] | None) -> Task | None:
    """The task of predicting `data` with a network that gives `outputs`, the shape of one sample's (None: several
    tensors).

    Told by the labels, or `data.task`. None where nothing tells, such as for maps without labels. Raises DataError
    where the labels cannot be predicted by such a network, or not as `data.task` says.
    """
    name = _told(data, outputs) if data.task == "auto" else data.task
    if name is None or outputs is None:
        return None
    why = "" if data.task == "auto" else f"task {name!r}, as was asked for"
    if name == "classification":
        return _classification(data, outputs, why)
    if name == "binary":
        return _binary(data, outputs, why)
    if name == "regression":
        return _regression(data, outputs, why)
    if name == "language":
        return _language(data, outputs, why)
    return _positions(data, outputs, why)


def required_task(data: Dataset, outputs: tuple[int, ...] | None) -> Task:
    """`find_task` of labelled data; DataError where nothing tells the task."""
    task = find_task(data, outputs)
    if task is None:
        shape = "several tensors" if outputs is None else f"outputs of shape {outputs}"
        labels = "without labels" if data.y is None else f"labels of shape {tuple(data.y.shape[1:])}"
        raise DataError(
            f"{data.name}: samples {labels} are nothing to judge by for a network that gives {shape} a sample; add "
            "labels that fit, or name the task (--task classification, binary, positions, regression or language)"
        )
    return task


def _told(data: Dataset, outputs: tuple[int, ...] | None) -> str | None:
    if outputs is None:
        return None
    y, single = data.y, outputs in ((), (1,))
    if y is None:
        is_language = bool(data.tokens) and len(outputs) == 2 and _are_next_tokens(data, outputs)
        return "language" if is_language else "classification" if len(outputs) == 1 and not single else None
    if y.dtype == torch.float32:
        return "regression"
    if data.is_classified:
        return "binary" if single else "classification" if len(outputs) == 1 else None
    return "language" if data.tokens and _are_next_tokens(data, outputs) else "positions"


def _are_next_tokens(data: Dataset, outputs: tuple[int, ...]) -> bool:
    """Whether outputs (t, vocabulary) can be logits of the tokens, and the labels, if any, are the tokens."""
    tokens = data.part(data.x, data.tokens[0])
    assert tokens is not None
    if len(outputs) != 2 or outputs[0] != tokens.shape[1] or int(tokens.max()) >= outputs[1]:
        return False
    if data.y is None:
        return True
    counted = data.y != IGNORED
    return data.y.shape == tokens.shape and bool((data.y[counted] == tokens[counted]).all())


def _classification(data: Dataset, outputs: tuple[int, ...], why: str) -> Task:
    if len(outputs) != 1 or (data.y is not None and not data.is_classified):
        raise _wrong(data, outputs, "classification takes one class number a sample, and logits (classes,)")
    _check_classes(data, outputs[0])
    return Classification(data, outputs[0], why)


def _binary(data: Dataset, outputs: tuple[int, ...], why: str) -> Task:
    if outputs not in ((), (1,)) or (data.y is not None and not data.is_classified):
        raise _wrong(data, outputs, "binary takes labels 0 and 1 a sample, and one output")
    if data.classes > 2:
        raise DataError(f"{data.name}: the labels go up to {data.classes - 1}, but one output stands for 0 and 1 alone")
    return Binary(data, 2, why or "one output and labels 0 and 1: taken as the logit of class 1 (task 'binary')")


def _regression(data: Dataset, outputs: tuple[int, ...], why: str) -> Task:
    values = outputs[0] if outputs else 1
    wanted = values if data.y is None else data.y.shape[1] if data.y.ndim == 2 else 1
    if len(outputs) > 1 or wanted != values or (data.y is not None and data.y.ndim > 2):
        more = "; store class numbers as whole numbers" if values > 1 and wanted == 1 else ""
        raise _wrong(data, outputs, f"real numbers as labels mean regression, with as many outputs as values{more}")
    line = "the labels are real numbers: taken as values to predict (task 'regression')"
    return Regression(data, values, why or line)


def _language(data: Dataset, outputs: tuple[int, ...], why: str) -> Task:
    if not data.tokens or not _are_next_tokens(data, outputs):
        what = "language takes tokens (T,), the same or none as labels, and logits (T, vocabulary); labels that are "
        raise _wrong(data, outputs, f"{what}moved by one already are 'positions'")
    said = "no labels, and logits for every token" if data.y is None else "the labels are the tokens themselves"
    return Language(data, outputs[1], why or f"{said}: taken as prediction of the next token (task 'language')")


def _positions(data: Dataset, outputs: tuple[int, ...], why: str) -> Task:
    if len(outputs) < 2:
        raise _wrong(data, outputs, "labels of positions take logits of as many positions")
    last = bool(data.tokens) or len(outputs) == 2
    dims = [-1, 1] if last else [1, -1]
    if data.y is not None:
        places = tuple(data.y.shape[1:])
        dims = [dim for dim in dims if (outputs[:-1] if dim == -1 else outputs[1:]) == places]
        if data.y.dtype != torch.int64 or not dims:
            raise _wrong(data, outputs, "labels of positions take logits of as many positions")
    dim = dims[0]
    classes = outputs[-1] if dim == -1 else outputs[0]
    _check_classes(data, classes)
    where = "(..., classes)" if dim == -1 else "(classes, ...)"
    also = f"; outputs could be read either way, and are read as {where}" if len(dims) > 1 else ""
    line = f"labels of positions: the outputs are logits {where} (task 'positions'){also}"
    return Positions(data, classes, why or line, dim)


def _check_classes(data: Dataset, classes: int) -> None:
    if data.y is not None and data.classes > classes:
        raise DataError(f"{data.name}: the labels go up to {data.classes - 1}, but the model knows {classes} classes")


def _wrong(data: Dataset, outputs: tuple[int, ...], what: str) -> DataError:
    labels = "no labels" if data.y is None else f"labels of shape {tuple(data.y.shape[1:])}"
    return DataError(f"{data.name}: {what}; here are {labels} a sample, and the model gives {outputs}")
