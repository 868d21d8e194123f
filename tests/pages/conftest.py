"""Pages run by Streamlit's AppTest on a small store of their own; no job service is started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))

import samples  # noqa: E402

from fusion_engine import store  # noqa: E402
from fusion_engine.jobs import client  # noqa: E402
from fusion_engine.jobs.service import connect  # noqa: E402

Outcome = Callable[[str, dict[str, Any]], str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store, and a job service that takes jobs and never works on them."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    monkeypatch.delenv("FUSION_SCHEDULER", raising=False)
    monkeypatch.setattr(client, "ensure_running", lambda wait=True: None)
    monkeypatch.setattr(client, "is_running", lambda: True)
    monkeypatch.setattr(connect, "gone", lambda token: False)
    monkeypatch.setattr(client, "submit", lambda kind, arguments: store.create_run(kind, arguments))
    return tmp_path


@pytest.fixture
def filled(home: Path) -> Path:
    """A store with a catalogue, a set of two parents and a data set."""
    samples.add_catalogue()
    samples.add_parents()
    samples.add_data()
    return home


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The jobs that pages hand over."""
    jobs: list[tuple[str, dict[str, Any]]] = []

    def submit(kind: str, arguments: dict[str, Any]) -> str:
        jobs.append((kind, arguments))
        return store.create_run(kind, arguments)

    monkeypatch.setattr(client, "submit", submit)
    return jobs


@pytest.fixture
def open_page() -> Callable[..., AppTest]:
    """open_page('fuse', parents='...') runs the app, moves to a page with URL parameters, and checks for crashes."""

    def run(name: str, **parameters: str) -> AppTest:
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
        for key, value in parameters.items():
            app.query_params[key] = value
        app.switch_page(f"pages/{name}.py")
        app.run()
        assert not app.exception, [e.value for e in app.exception]
        return app

    return run
