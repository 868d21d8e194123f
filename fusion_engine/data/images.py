"""Image folders with one sub-folder a class, and zips of them."""

import io
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from ..core.errors import DataError, UnsafeFileError
from ..core.files import DEFAULT_LIMIT, check_file, open_archive
from .dataset import MAX_CLASSES, Dataset
from .npz import make_dataset

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm")
_MAX_PIXELS = 50_000_000


def load_image_folder(path: Path, limit: int = DEFAULT_LIMIT) -> Dataset:
    """Images of a folder; classes are the sub-folders in alphabetical order. See `load_image_archive`."""
    files = [file for file in sorted(path.glob("*/*")) if file.suffix.lower() in _SUFFIXES and file.is_file()]
    if sum(file.stat().st_size for file in files) > limit:
        raise UnsafeFileError(f"{path.name}: the images take more than the limit of {limit:,} bytes")
    readers = {f"{file.parent.name}/{file.name}": file.read_bytes for file in files}
    return _assemble(readers, path.name, limit)


def load_image_archive(path: Path, limit: int = DEFAULT_LIMIT) -> Dataset:
    """Images of a zip whose innermost folders are the classes, numbered in alphabetical order.

    All images take the first one's size (bilinear) and its kind, grey (1 channel) or colour (3); where images had
    to be resized the data set's name says so. mean and std are the images' own. Nothing is unpacked to disk.
    Raises DataError, or UnsafeFileError for an archive or picture that is too large.
    """
    check_file(path, limit, DataError)
    with open_archive(path, limit, DataError) as archive:
        names = sorted(
            name for name in archive.namelist()
            if PurePosixPath(name).suffix.lower() in _SUFFIXES
            # macOS adds a __MACOSX folder and ._ files to its zips.
            and not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
        )
        return _assemble({name: partial(archive.read, name) for name in names}, path.name, limit)


def _assemble(readers: dict[str, Callable[[], bytes]], name: str, limit: int) -> Dataset:
    folders = sorted({PurePosixPath(file).parent.name for file in readers})
    if not readers or "" in folders:
        raise DataError(f"{name}: no images in class folders found; use one sub-folder a class, such as cats/1.png")
    if len(folders) > MAX_CLASSES:
        raise DataError(f"{name}: {len(folders):,} class folders; at most {MAX_CLASSES:,} classes are read")
    images: list[np.ndarray] = []
    resized = 0
    for file, read in readers.items():
        like = images[0] if images else None
        image, changed = _decode(read(), PurePosixPath(file).name, name, like)
        resized += changed
        images.append(image)
        if image.nbytes * len(readers) > limit:
            raise UnsafeFileError(f"{name}: the decoded images take more than the limit of {limit:,} bytes")
    x = np.stack(images)
    y = np.array([folders.index(PurePosixPath(file).parent.name) for file in readers])
    mean = x.mean(axis=(0, 2, 3)) / 255
    std = np.maximum(x.std(axis=(0, 2, 3)) / 255, 1e-6)
    note = f" ({resized} of {len(x)} images resized to {x.shape[3]} x {x.shape[2]})" if resized else ""
    return make_dataset(x, y, mean, std, len(folders), name + note)


def _decode(raw: bytes, file: str, name: str, like: np.ndarray | None) -> tuple[np.ndarray, bool]:
    """(C, H, W) uint8 of one picture, in the kind and size of `like`; and whether it had to be resized."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(raw)) as picture:
                if picture.width * picture.height > _MAX_PIXELS:
                    raise UnsafeFileError(f"{name}: {file} has more than {_MAX_PIXELS:,} pixels")
                channels = like.shape[0] if like is not None else (1 if picture.mode in ("1", "L", "I;16") else 3)
                size = picture.size if like is None else (like.shape[2], like.shape[1])
                converted = picture.convert("L" if channels == 1 else "RGB")
                changed = converted.size != size
                if changed:
                    converted = converted.resize(size, Image.Resampling.BILINEAR)
                pixels = np.asarray(converted, dtype=np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise UnsafeFileError(f"{name}: {file} unpacks to too many pixels") from problem
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as problem:
        raise DataError(f"{name}: {file} is not a readable image") from problem
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)).copy(), changed
