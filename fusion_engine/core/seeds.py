"""One seed, many independent and reproducible streams: no global random state anywhere."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

def stream_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream named by `path` (e.g. "grouping", space name).

    Streams do not depend on the order in which they are asked for, so adding a step leaves the others alone.
    """
    text = "/".join([str(int(seed)), *map(str, path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *path: str | int) -> np.random.Generator:
    """NumPy generator of the stream `path`."""
    import numpy as np

    return np.random.default_rng(stream_seed(seed, *path))


def torch_generator(seed: int, *path: str | int, device: str = "cpu") -> torch.Generator:
    """torch generator of the stream `path` on `device`."""
    import torch

    generator = torch.Generator(device=device)
    generator.manual_seed(stream_seed(seed, *path))
    return generator
