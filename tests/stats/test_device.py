from __future__ import annotations

import pytest
import torch

from fusion_engine.core.errors import DataError
from fusion_engine.stats import checked_device


def test_devices_that_are_there() -> None:
    assert checked_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:77", "meta", "tpu", "", "cpu:x"])
def test_devices_that_are_not(name: str) -> None:
    with pytest.raises(DataError, match=f"no device '{name}'; use device 'cpu'"):
        checked_device(name)
