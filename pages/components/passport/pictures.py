"""Small pictures from arrays, as addresses that hold the whole PNG. NumPy and zlib."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

_ORANGE, _BLUE = np.array([213, 94, 0]), np.array([0, 114, 178])  # told apart with any colour vision
_SIDE = 64  # pixels that a picture with something drawn over it has at least


def png(pixels: np.ndarray) -> str:
    """A data address of (height, width, 3) uint8."""
    height, width = pixels.shape[:2]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), np.ascontiguousarray(pixels).reshape(height, -1)], 1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 4)), (b"IEND", b"")]
    chunks = b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunks).decode()


def sample(image: np.ndarray, look: np.ndarray | None = None, signed: bool = False) -> np.ndarray:
    """(h, w, 3) uint8 of a picture (channels, h, w) uint8. look: a map over it, drawn in orange where it is large;
    signed: in blue where it is far below 0."""
    pixels = image.transpose(1, 2, 0)
    pixels = np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels
    if look is None:
        return pixels
    factor = -(-_SIDE // max(pixels.shape[:2]))
    pixels = pixels.repeat(factor, 0).repeat(factor, 1)
    grown = _grown(look.astype(np.float64), (pixels.shape[0], pixels.shape[1]))
    if not signed:
        grown = grown - grown.min()
    strength = (np.abs(grown) / max(float(np.abs(grown).max()), 1e-12))[..., None] ** 0.8
    colour = np.where(grown[..., None] >= 0, _ORANGE, _BLUE)
    grey = pixels.mean(2, keepdims=True) * 0.75
    return np.asarray((grey * (1 - 0.85 * strength) + colour * 0.85 * strength).round().clip(0, 255), np.uint8)


def weights(values: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 of weights (channels, h, w). Of three channels a colour, grey being 0; else the sum over
    channels, orange above 0 and blue below, white being 0."""
    largest = max(float(np.abs(values).max(initial=0.0)), 1e-12)
    if len(values) == 3:
        return np.asarray((127.5 + 127.5 * values.transpose(1, 2, 0) / largest).round().clip(0, 255), np.uint8)
    total = values.sum(0)
    share = (total / max(float(np.abs(total).max(initial=0.0)), 1e-12))[..., None]
    colour = np.where(share >= 0, _ORANGE, _BLUE)
    return np.asarray((255 + (colour - 255) * np.abs(share)).round(), np.uint8)


def row(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(8, n, 3) uint8: numbers as a stripe of greys, each from the smallest to the largest that is shown of it."""
    share = (values.ravel() - low) / np.maximum(high - low, 1e-12)
    return np.repeat(np.asarray((255 * share).round().clip(0, 255), np.uint8)[None, :, None], 3, 2).repeat(8, 0)


def _grown(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A map brought to `size`, between its points linear."""
    for axis, length in enumerate(size):
        old = values.shape[axis]
        at = ((np.arange(length) + 0.5) * old / length - 0.5).clip(0, old - 1)
        low = at.astype(int)
        high = np.minimum(low + 1, old - 1)
        part = (at - low).reshape([-1 if a == axis else 1 for a in range(2)])
        values = values.take(low, axis) * (1 - part) + values.take(high, axis) * part
    return values
