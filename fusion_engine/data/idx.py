"""IDX files, the format of MNIST and its kin (Y. LeCun): big-endian header, then raw bytes; plain or gzipped."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ..core.errors import DataError, UnsafeFileError
from ..core.files import DEFAULT_LIMIT, check_file
from .dataset import Dataset
from .npz import make_dataset

_UINT8 = 0x08


def is_idx(path: Path) -> bool:
    """Whether a file's name is that of an IDX file (train-images-idx3-ubyte.gz and the like)."""
    return path.is_file() and ("idx" in path.name or path.name.removesuffix(".gz").endswith("ubyte"))


def load_idx(path: Path, limit: int = DEFAULT_LIMIT) -> Dataset:
    """The images (N, 1, H, W) in an IDX file and the labels in the file beside it ('images-idx3' -> 'labels-idx1').
    Labels are None when there is no such file. mean and std are the images' own. Raises DataError."""
    images = _read(path, limit)
    if images.ndim not in (3, 4):
        raise DataError(f"{path.name}: not images (N, H, W); give the images file, its labels are found beside it")
    labels_path = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    plain = labels_path.name.removesuffix(".gz")
    candidates = [labels_path, path.with_name(plain), path.with_name(f"{plain}.gz")]
    labels = next((_read(file, limit) for file in candidates if file != path and file.is_file()), None)
    mean, std = np.array([images.mean() / 255]), np.array([max(images.std() / 255, 1e-6)])
    return make_dataset(images, labels, mean, std, None, path.name)


def _read(path: Path, limit: int) -> np.ndarray:
    check_file(path, limit, DataError)
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            zeros, kind, ndim = struct.unpack(">HBB", file.read(4))
            shape = struct.unpack(f">{ndim}I", file.read(4 * ndim))
            if zeros != 0 or kind != _UINT8 or not 1 <= ndim <= 4:
                raise DataError(f"{path.name}: not an IDX file of unsigned bytes")
            size = math.prod(shape)
            if size > limit:
                raise UnsafeFileError(f"{path.name}: unpacks to {size:,} bytes, more than the limit of {limit:,}")
            raw = file.read(size + 1)
    except (struct.error, OSError, EOFError, zlib.error) as problem:
        raise DataError(f"{path.name}: the IDX file is damaged or cut short") from problem
    if len(raw) != size:
        raise DataError(f"{path.name}: the IDX file is cut short or longer than its header says")
    return np.frombuffer(raw, np.uint8).reshape(shape).copy()
