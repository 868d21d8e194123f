"""What weights do not tell: assumed with a note, or told by a parents.json beside the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from fusion_engine.architectures import ViTConfig, build
from fusion_engine.core.errors import ParentError
from fusion_engine.parents import load_parent

CONFIG = ViTConfig((3, 8, 8), 4, 16, 4, (24,), (16,), 5)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(build(CONFIG).state_dict(), tmp_path / "v.safetensors")
    return tmp_path / "v.safetensors"


def told(file: Path, **values: Any) -> None:
    entry = {"file": file.name, "architecture": values}
    file.with_name("parents.json").write_text(json.dumps({"parents": [entry]}))


def test_assumed_heads_are_noted(file: Path) -> None:
    parent = load_parent(file)
    assert any("heads" in note for note in parent.metadata.assumed.values())


def test_heads_can_be_told(file: Path) -> None:
    told(file, heads=4)
    parent = load_parent(file)
    assert parent.architecture == CONFIG
    assert not any("heads" in note for note in parent.metadata.assumed.values())


@pytest.mark.parametrize("values", [{"heads": 3}, {"width": 8}, {"colour": "red"}, {"heads": "four"}])
def test_what_does_not_fit_is_refused(file: Path, values: dict[str, Any]) -> None:
    told(file, **values)
    with pytest.raises(ParentError, match=r"v\.safetensors: what parents\.json says of the architecture"):
        load_parent(file)
