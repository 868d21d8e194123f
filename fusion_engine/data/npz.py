"""Read .npz files: x, y and optionally mean, std, classes. No pickles; sizes are checked before reading."""

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

_ARRAYS = ("x", "y", "mean", "std", "classes")
_HEADER_LIMIT = 10_000


def load_npz(path: Path, limit: int = DEFAULT_LIMIT) -> Dataset:
    """The Dataset in an .npz file: x (N, ...), y (N,) integers, optional mean, std per channel, classes. Raises
    DataError for wrong contents and UnsafeFileError for object arrays or too large files."""
    path = check_file(path, limit, DataError)
    with open_archive(path, limit, DataError) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        arrays = {
            key: _read_array(archive, entries[f"{key}.npy"], path.name) for key in _ARRAYS if f"{key}.npy" in entries
        }
    if "x" not in arrays:
        raise DataError(f"{path.name}: there is no array x; store samples as x (N, ...) and labels as y (N,)")
    classes = arrays.get("classes")
    if classes is not None and (classes.size != 1 or classes.dtype.kind not in "iu"):
        raise DataError(f"{path.name}: classes must be one whole number")
    return make_dataset(
        arrays["x"], arrays.get("y"), arrays.get("mean"), arrays.get("std"),
        None if classes is None else int(classes.reshape(-1)[0]), path.name,
    )


def make_dataset(
    x: np.ndarray, y: np.ndarray | None, mean: np.ndarray | None, std: np.ndarray | None, classes: int | None,
    name: str,
) -> Dataset:
    """A checked Dataset from NumPy arrays. uint8 images (N, H, W) get a channel dimension; float64 becomes float32.
    classes: None counts up to the largest label. Raises DataError."""
    if x.dtype.kind == "f":
        x = x.astype(np.float32)
    elif x.dtype != np.uint8:
        raise DataError(f"{name}: x must be uint8 or float32, not {x.dtype}")
    if x.dtype == np.uint8 and x.ndim == 3:
        x = x[:, None]
    labels = None
    if y is not None:
        if y.dtype.kind not in "iu" or y.ndim != 1:
            raise DataError(f"{name}: y must be one row of integers, not {y.dtype} of shape {y.shape}")
        if y.size and int(y.max()) >= MAX_CLASSES:
            wrong = f"{name}: a label in y is {int(y.max())}"
            raise DataError(f"{wrong}; labels are class numbers counted from 0, below {MAX_CLASSES:,}")
        labels = torch.from_numpy(y.astype(np.int64))
        if classes is None:
            classes = int(y.max()) + 1 if y.size else 0
    return Dataset(
        torch.from_numpy(np.ascontiguousarray(x)), labels, _channels(mean, "mean", name), _channels(std, "std", name),
        classes or 0, name,
    )


def save_npz(path: Path, data: Dataset) -> None:
    """Write a Dataset so that `load_npz` gives it back."""
    tensors = {"x": data.x, "y": data.y, "mean": data.mean, "std": data.std, "classes": torch.tensor(data.classes)}
    arrays: dict[str, Any] = {key: value.numpy() for key, value in tensors.items() if value is not None}
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
