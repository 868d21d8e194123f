"""Samples as a reader sees them: pictures as uint8, rows as numbers, tokens as they are."""

import math

import numpy as np
import torch

from fusion_engine.data import Dataset

_LONGEST = 96  # pixels of a side; a page shows them small


def shown(data: Dataset, chosen: np.ndarray) -> tuple[np.ndarray, str, list[str]]:
    """The samples `chosen`, how they are shown ('image', 'row' or 'tokens'), and notes for the reader."""
    x = data.x[torch.from_numpy(chosen)]
    notes: list[str] = []
    if x.dtype == torch.int64:
        return x.numpy(), "tokens", notes
    side = math.isqrt(math.prod(data.input_shape))
    if x.ndim == 2 and x.dtype == torch.uint8 and side * side == x.shape[1] and side > 3:
        x = x.reshape(len(x), 1, side, side)
        notes.append(f"Rows of {side * side} bytes are shown as pictures of {side} x {side}.")
    if x.ndim == 3 and x.shape[1] > 3 and x.shape[2] > 3 and x.dtype == torch.uint8:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        return x.float().numpy(), "row", notes
    if max(x.shape[2:]) > _LONGEST:
        scale = _LONGEST / max(x.shape[2:])
        size = (max(1, round(x.shape[2] * scale)), max(1, round(x.shape[3] * scale)))
        notes.append(f"Pictures of {x.shape[2]} x {x.shape[3]} are shown as {size[0]} x {size[1]}.")
        x = torch.nn.functional.adaptive_avg_pool2d(x.float(), size)
    return _bytes(x, data.x.dtype == torch.uint8), "image", notes


def _bytes(x: torch.Tensor, are_bytes: bool) -> np.ndarray:
    """Pictures as uint8; stored real numbers are stretched from the smallest to the largest of all."""
    if not are_bytes:
        low, high = x.min(), x.max()
        x = (x - low) / (high - low).clamp_min(1e-12) * 255
    return np.asarray(x.float().round().clamp(0, 255).to(torch.uint8).numpy())
