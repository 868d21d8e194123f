"""Read .npz files: x, or named token inputs; y; optionally mean, std, classes, task. No pickles; sizes are checked
before reading."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import DataError, UnsafeFileError
from ..core.files import DEFAULT_LIMIT, atomic_path, check_file, open_archive
from .dataset import MAX_CLASSES, Dataset

_TOKENS = (
    "input_ids", "attention_mask", "token_type_ids", "position_ids", "mask", "padding_mask", "key_padding_mask",
    "decoder_input_ids", "decoder_attention_mask", "tokens", "ids",
)  # fmt: skip
_LABELS = ("y", "labels", "label", "targets")
_ARRAYS = ("x", *_LABELS, "mean", "std", "classes", "task", *_TOKENS)
_HEADER_LIMIT = 10_000


def load_npz(path: Path, limit: int = DEFAULT_LIMIT) -> Dataset:
    """The Dataset in an .npz file.

    x (N, ...); or token inputs (N, T) by their names (input_ids, attention_mask, token_type_ids, ...). y, labels, label
    or targets: class numbers (N,) or of positions (N, ...), or values to predict. Optional mean, std per channel,
    classes, task. Raises DataError for wrong contents and UnsafeFileError for object arrays or too large files.
    """
    path = check_file(path, limit, DataError)
    with open_archive(path, limit, DataError) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        arrays = {
            key: _read_array(archive, entries[f"{key}.npy"], path.name) for key in _ARRAYS if f"{key}.npy" in entries
        }
    tokens = [key for key in _TOKENS if key in arrays]
    if ("x" in arrays) == bool(tokens):
        what = "both an array x and named tokens" if tokens else "no array x"
        raise DataError(
            f"{path.name}: there is {what}; store samples as x (N, ...), or tokens as input_ids (N, T), with an "
            "attention_mask where there are masks, and labels as y"
        )
    named = [key for key in _LABELS if key in arrays]
    if len(named) > 1:
        raise DataError(f"{path.name}: there are labels under several names ({', '.join(named)}); keep one of them")
    classes, task = arrays.get("classes"), arrays.get("task")
    if classes is not None and (classes.size != 1 or classes.dtype.kind not in "iu"):
        raise DataError(f"{path.name}: classes must be one whole number")
    if task is not None and (task.size != 1 or task.dtype.kind != "U"):
        raise DataError(f"{path.name}: task must be one word")
    return make_dataset(
        arrays["x"] if not tokens else packed({key: arrays[key] for key in tokens}, path.name),
        arrays[named[0]] if named else None, arrays.get("mean"), arrays.get("std"),
        None if classes is None else int(classes.reshape(-1)[0]), path.name, inputs=tuple(tokens),
        task="auto" if task is None else str(task.reshape(-1)[0]),
    )


def packed(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Token inputs (N, T) as one array: (N, T) of one, (N, inputs, T) of several. Raises DataError."""
    for key, array in arrays.items():
        if array.dtype.kind not in "iub" or array.ndim != 2:
            raise DataError(
                f"{name}: {key} must hold whole numbers of shape (samples, positions), not {array.dtype} of shape "
                f"{array.shape}"
            )
    if len({array.shape for array in arrays.values()}) > 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        raise DataError(f"{name}: the token inputs have different shapes: {shapes}")
    parts = [array.astype(np.int64) for array in arrays.values()]
    return parts[0] if len(parts) == 1 else np.stack(parts, axis=1)


def make_dataset(
    x: np.ndarray, y: np.ndarray | None, mean: np.ndarray | None, std: np.ndarray | None, classes: int | None,
    name: str, *, inputs: tuple[str, ...] = (), task: str = "auto",
) -> Dataset:
    """A checked Dataset from NumPy arrays. uint8 images (N, H, W) get a channel dimension; float64 becomes float32;
    whole numbers that are no bytes are tokens. classes: None counts up to the largest label. Raises DataError."""
    if x.dtype.kind == "f":
        x = x.astype(np.float32)
    elif x.dtype.kind in "iu" and x.dtype != np.uint8:
        if x.ndim != 2 + (len(inputs) > 1):
            raise DataError(
                f"{name}: x holds {x.dtype}, so tokens (samples, positions), and has shape {x.shape}; store images as "
                "uint8 or float32"
            )
        x, inputs = x.astype(np.int64), inputs or ("input_ids",)
    elif x.dtype != np.uint8:
        raise DataError(f"{name}: x must be uint8 or float32, or whole numbers (tokens), not {x.dtype}")
    if x.dtype == np.uint8 and x.ndim == 3:
        x = x[:, None]
    labels = None
    if y is not None:
        if y.dtype.kind not in "iuf" or y.ndim < 1:
            raise DataError(f"{name}: y must hold class numbers or values to predict, not {y.dtype} of shape {y.shape}")
        if y.dtype.kind == "f":
            labels = torch.from_numpy(np.ascontiguousarray(y.astype(np.float32)))
        else:
            if y.size and int(y.max()) >= MAX_CLASSES:
                wrong = f"{name}: a label in y is {int(y.max())}"
                raise DataError(f"{wrong}; labels are class numbers counted from 0, below {MAX_CLASSES:,}")
            labels = torch.from_numpy(np.ascontiguousarray(y.astype(np.int64)))
            if classes is None:
                classes = max(int(y.max()) + 1, 0) if y.size else 0
    return Dataset(
        torch.from_numpy(np.ascontiguousarray(x)), labels, _channels(mean, "mean", name), _channels(std, "std", name),
        classes or 0, name, inputs, task,
    )


def save_npz(path: Path, data: Dataset) -> None:
    """Write a Dataset so that `load_npz` gives it back."""
    tensors = {"y": data.y, "mean": data.mean, "std": data.std, "classes": torch.tensor(data.classes)}
    inputs = {name: data.part(data.x, name) for name in data.inputs} or {"x": data.x}
    arrays: dict[str, Any] = {key: value.numpy() for key, value in {**inputs, **tensors}.items() if value is not None}
    if data.task != "auto":
        arrays["task"] = np.array(data.task)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _channels(values: np.ndarray | None, key: str, name: str) -> torch.Tensor | None:
    if values is None:
        return None
    if values.dtype.kind not in "fiu":
        raise DataError(f"{name}: {key} must hold numbers, not {values.dtype}")
    return torch.from_numpy(values.reshape(-1).astype(np.float32))


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> np.ndarray:
    """Read one .npy entry. np.load would allocate whatever shape the header claims; here it must fit the entry."""
    key = entry.filename.removesuffix(".npy")
    with archive.open(entry) as file:
        head = io.BytesIO(file.read(min(entry.file_size, _HEADER_LIMIT + 16)))
        try:
            version = np.lib.format.read_magic(head)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0
            }[version]
            shape, fortran, dtype = read_header(head, max_header_size=_HEADER_LIMIT)
        except (ValueError, KeyError, TypeError, SyntaxError) as problem:
            raise DataError(f"{name}: array {key} is damaged or not an .npy array") from problem
    if dtype.hasobject:
        raise UnsafeFileError(f"{name}: array {key} holds Python objects, which could run code; store numbers")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != entry.file_size - head.tell():
        raise DataError(f"{name}: array {key} is cut short or its header is wrong")
    raw = archive.read(entry)
    array = np.frombuffer(raw, dtype, math.prod(shape), head.tell())
    return array.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
