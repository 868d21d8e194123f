"""The built-in data set: scikit-learn's handwritten digits (UCI ML repository), 1,797 images of 8 x 8 pixels."""

import numpy as np

from ..core.errors import DataError
from ..core.registry import nearest
from ..core.seeds import numpy_generator
from .dataset import Dataset
from .npz import make_dataset

_PARTS = ("digits", "digits:train", "digits:test")
_TEST_SHARE = 0.3


def load_digits(part: str = "digits") -> Dataset:
    """x (N, 1, 8, 8) uint8 with ten classes; 'digits' is everything, 'digits:train' and 'digits:test' a fixed split.

    The split is stratified and seeded: 30 % of every class is test data. mean and std are the training part's.
    Raises DataError for another part.
    """
    if part not in _PARTS:
        raise DataError(f"unknown data set {part!r}{nearest(part, _PARTS)}")
    from sklearn import datasets

    bunch = datasets.load_digits()
    x = np.rint(bunch.images[:, None] * (255 / 16)).astype(np.uint8)
    y = bunch.target.astype(np.int64)
    is_test = np.zeros(len(y), dtype=bool)
    generator = numpy_generator(0, "digits")
    for label in range(10):
        members = generator.permutation(np.flatnonzero(y == label))
        is_test[members[: round(_TEST_SHARE * len(members))]] = True
    scaled = x[~is_test] / 255
    mean, std = np.array([scaled.mean()]), np.array([scaled.std()])
    keep = {"digits": slice(None), "digits:train": ~is_test, "digits:test": is_test}[part]
    return make_dataset(x[keep], y[keep], mean, std, 10, part)
