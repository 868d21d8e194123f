from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusion_engine.architectures import MLPConfig, build
from fusion_engine.core.seeds import torch_generator
from fusion_engine.data import load_data, save_npz
from fusion_engine.parents import make_parent, save_parent


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a and b (random networks for digits), other (narrower), foreign (another input), calib and test."""
    folder = tmp_path_factory.mktemp("files")
    networks = {"a": (64, 12, 10), "b": (64, 12, 10), "other": (64, 9, 10), "foreign": (60, 12, 10)}
    for name, widths in networks.items():
        config = MLPConfig(widths)
        generator = torch_generator(0, name)
        state = {
            key: torch.randn(t.shape, generator=generator) / t.shape[-1] ** 0.5
            for key, t in build(config).state_dict().items()
        }
        save_parent(folder / f"{name}.safetensors", make_parent(name, config, state))
    digits = load_data("digits")
    save_npz(folder / "calib.npz", digits.subset(list(range(200))))
    save_npz(folder / "test.npz", digits.subset(list(range(200, 400))))
    return folder
