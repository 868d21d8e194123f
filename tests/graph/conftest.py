"""Zoo models, traced once a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.zoo import zoo_names

from .traced_zoo import Traced, traced


@pytest.fixture(params=zoo_names())
def zoo(request: pytest.FixtureRequest) -> Traced:
    return traced(request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
