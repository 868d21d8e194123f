from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store for each test, and no cluster from outside."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FUSION_SCHEDULER", raising=False)
    return tmp_path / "home"
