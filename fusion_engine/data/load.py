"""load_data: one door for every source of data."""

import os
from dataclasses import replace
from pathlib import Path

from ..core.errors import DataError
from ..core.files import DEFAULT_LIMIT
from .dataset import Dataset
from .digits import load_digits
from .idx import is_idx, load_idx
from .images import load_image_archive, load_image_folder
from .npz import load_npz


def load_data(
    source: str | os.PathLike[str], y_required: bool = True, *, task: str = "auto", limit: int = DEFAULT_LIMIT
) -> Dataset:
    """Read a data set.

    source: 'digits', 'digits:train', 'digits:test'; an .npz file (x, y, optional mean, std, classes); an IDX images
    file, plain or .gz, with its labels file beside it; a folder of images with one sub-folder a class, or a zip of
    one. y_required: refuse data without labels, but for tokens, which can be labels themselves. task: what the labels
    are for, see Dataset; 'auto': what the file says, or labels and outputs tell. limit: largest size in bytes, also
    unpacked. Raises DataError, or UnsafeFileError for a file that is too large or tries to escape.
    """
    if isinstance(source, str) and source.split(":")[0] == "digits" and not Path(source).exists():
        return load_digits(source)
    path = Path(source)
    if path.is_dir():
        data = load_image_folder(path, limit)
    elif path.suffix == ".npz":
        data = load_npz(path, limit)
    elif path.suffix == ".zip":
        data = load_image_archive(path, limit)
    elif is_idx(path):
        data = load_idx(path, limit)
    else:
        what = "is not a kind of data this reads" if path.exists() else "was not found"
        raise DataError(f"{path.name}: {what}; give 'digits', an .npz, an IDX file, an image folder or a zip of one")
    if y_required and data.y is None and not data.tokens:
        raise DataError(f"{data.name}: there are no labels, and this needs them (add an array y)")
    return data if task == "auto" else replace(data, task=task)
