"""Calibration data that nothing should be fused with, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def made(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def digits(files: Path) -> dict[str, np.ndarray]:
    with np.load(files / "calib.npz", allow_pickle=False) as archive:
        return dict(archive)


def relabelled(found: dict[str, np.ndarray], label: int, **more: Any) -> dict[str, Any]:
    y = found["y"].copy()
    y[5] = label
    return {"x": found["x"], "y": y, **more}


BAD_DATA: dict[str, tuple[Callable[[dict[str, np.ndarray]], dict[str, Any]], str]] = {
    "wrong shape": (lambda d: {**d, "x": np.zeros((len(d["y"]), 3, 9, 9), np.float32)}, "samples of shape (64,)"),
    "object array": (lambda d: {"x": np.array([{"a": 1}, None], dtype=object)}, "Python objects"),
    "object labels": (lambda d: {"x": d["x"], "y": d["y"].astype(object)}, "Python objects"),
    "too many classes": (lambda d: relabelled(d, 12), "the parents know 10 classes"),
    "label above the classes": (lambda d: relabelled(d, 12, classes=10), "there are 10 classes"),
    "negative label": (lambda d: relabelled(d, -1), "must not be negative"),
    "huge label": (lambda d: relabelled(d, 2**40), "labels are class numbers"),
    "labels as fractions": (lambda d: {"x": d["x"], "y": d["y"] + 0.5}, "whole numbers"),
    "fewer labels than samples": (lambda d: {"x": d["x"], "y": d["y"][:-1]}, "200 samples but 199 labels"),
    "NaN samples": (lambda d: {"x": d["x"].astype(np.float32) * np.nan, "y": d["y"]}, "NaN"),
    "no samples": (lambda d: {"x": d["x"][:0], "y": d["y"][:0]}, "at least one sample"),
    "no x": (lambda d: {"images": d["x"]}, "no array x"),
    "words": (lambda d: {"x": np.array(["a", "b"]), "y": d["y"][:2]}, "uint8 or float32"),
}
