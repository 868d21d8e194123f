"""What jobs read: parent sets and data sets of the store, and built-in data by name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from fusion_engine import store
from fusion_engine.core.errors import DataError, FusionError, JobError
from fusion_engine.core.seeds import numpy_generator
from fusion_engine.data import Dataset, balanced_sample, load_data
from fusion_engine.parents import Parent, load_parent

BUILT_IN = ("digits", "digits:train", "digits:test")


def read_parents(parent_set: str) -> list[Parent]:
    """The parents of a set, under the names they were imported with. They may not belong together."""
    summary = store.read_parents_summary(parent_set)
    pairs = zip(store.parent_paths(parent_set), summary["parents"], strict=True)
    return [replace(load_parent(path), name=entry["name"]) for path, entry in pairs]


def read_shape(arguments: Mapping[str, Any]) -> list[int] | None:
    """The shape of one sample that a job is given, if it is."""
    shape = arguments.get("input_shape")
    if shape is not None and not (
        isinstance(shape, list) and shape and all(type(n) is int and 0 < n < 10**6 for n in shape)
    ):
        raise JobError("input_shape must be a list of positive whole numbers, such as [3, 32, 32]")
    return shape


def read_base(reference: str) -> Parent:
    """The base model that `reference` names: a parent set's id, a dot, and the number of a parent in it."""
    parent_set, _, number = str(reference).partition(".")
    parents = read_parents(parent_set)
    if not number.isdecimal() or len(number) > 2 or int(number) >= len(parents):
        raise JobError("base must be a parent set's id, a dot and the number of one of its parents")
    return parents[int(number)]


def read_data(source: str, samples: int | None = None, seed: int = 0, y_required: bool = False) -> Dataset:
    """The data set with this id or built-in name; `samples` of it, balanced over classes, if that is fewer."""
    if source in BUILT_IN:
        data = load_data(source)
    else:
        data = load_data(store.data_path(source), y_required=y_required)
        data = replace(data, name=store.read_data_summary(source)["name"])
    return draw_samples(data, samples, seed)


def calibration(arguments: Mapping[str, Any]) -> Dataset:
    """The calibration samples of a finished run with these arguments."""
    return read_data(arguments["data"], arguments.get("samples"), arguments.get("seed") or 0)


def draw_samples(data: Dataset, samples: int | None, seed: int) -> Dataset:
    """`samples` of the data, balanced over classes where samples have them; all of it if None or if there are fewer.

    Classes without a sample are left out. Raises DataError if there are none to draw.
    """
    if samples is None or samples >= len(data):
        return data
    if samples < 1:
        raise DataError(f"{samples} calibration samples are too few; use at least one for each class")
    if not data.is_classified:
        chosen = np.sort(numpy_generator(seed, "samples").choice(len(data), samples, replace=False))
        return data.subset(chosen.tolist())
    there = data.counts[data.counts > 0]
    per_class = max(1, min(samples // len(there), int(there.min())))
    return data.subset(balanced_sample(data, per_class, seed, skip_empty=True).tolist())


def one_of(arguments: Mapping[str, Any], *names: str) -> str:
    """The one of `names` that the arguments have; JobError unless it is exactly one."""
    given = [name for name in names if arguments.get(name) is not None]
    if len(given) != 1:
        raise JobError(f"give exactly one of the arguments {', '.join(names)}")
    return given[0]


def whole_number(arguments: Mapping[str, Any], name: str, default: int, low: int, high: int) -> int:
    """An integer argument within [low, high]; JobError otherwise."""
    value = arguments.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise JobError(f"{name} must be a whole number from {low} to {high}, not {value!r}")
    return value


def displayed(error: FusionError, stored: str, shown: str) -> str:
    """An error's line with the name the user gave in place of the stored one."""
    return str(error).replace(stored, shown)
