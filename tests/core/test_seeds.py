"""Random streams: reproducible, independent of each other and of the order they are asked for."""

from __future__ import annotations

import torch

from fusion_engine.core.seeds import numpy_generator, stream_seed, torch_generator


def test_streams() -> None:
    assert stream_seed(0, "a", 1) == stream_seed(0, "a", 1)
    assert len({stream_seed(s, *p) for s in range(3) for p in (("a",), ("b",), ("a", 1), ("a", "1", "x"))}) == 12
    assert numpy_generator(1, "x").random() == numpy_generator(1, "x").random()
    first, again = (torch.rand(3, generator=torch_generator(1, "x")) for _ in range(2))
    assert torch.equal(first, again)
