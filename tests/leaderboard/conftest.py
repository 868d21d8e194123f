from __future__ import annotations

import pytest
import torch

from fusion_engine.architectures import MLPConfig, build
from fusion_engine.core.seeds import torch_generator
from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import load_demo
from fusion_engine.parents import Parent, make_parent


@pytest.fixture(scope="session")
def mlps() -> list[Parent]:
    """Two random networks for digits, 12 hidden neurons."""
    config = MLPConfig((64, 12, 10))
    made = []
    for name in ("a", "b"):
        generator = torch_generator(0, name)
        state = {
            key: torch.randn(t.shape, generator=generator) / t.shape[-1] ** 0.5
            for key, t in build(config).state_dict().items()
        }
        made.append(make_parent(name, config, state))
    return made


@pytest.fixture(scope="session")
def vggs() -> list[Parent]:
    return load_demo("vgg")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """100 calibration samples, ten a class."""
    from fusion_engine.data import balanced_sample

    data = load_data("digits:train")
    return data.subset(balanced_sample(data, 10).tolist())


@pytest.fixture(scope="session")
def test_digits() -> Dataset:
    return load_data("digits:test").subset(list(range(200)))
