"""The job service's own decisions, without starting one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fusion_engine.core.errors import JobError
from fusion_engine.jobs.service import serve


@pytest.mark.parametrize(("state", "needed"), [("memory", False), ("erred", False), ("queued", True)])
def test_only_work_keeps_a_service_without_owner_alive(state: str, needed: bool) -> None:
    """A job that ends before it is marked "fire and forget" stays in the scheduler's memory for good."""
    scheduler: Any = SimpleNamespace(tasks={"job": SimpleNamespace(state=state)}, clients={"fire-and-forget": 0})
    assert serve._needed(scheduler) is needed


def test_workers_share_the_machine_with_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MEMORY_LIMIT", 50 * 2**30)
    monkeypatch.delenv("FUSION_WORKER_MEMORY", raising=False)
    assert serve._memory_limit(4) == 10 * 2**30
    assert serve._memory_limit(400) == 2**30
    monkeypatch.setenv("FUSION_WORKER_MEMORY", "3 GiB")
    assert serve._memory_limit(4) == 3 * 2**30
    for given in ("a lot", "100 MB", "-8GiB"):
        monkeypatch.setenv("FUSION_WORKER_MEMORY", given)
        with pytest.raises(JobError, match=f"FUSION_WORKER_MEMORY={given}: give an amount"):
            serve._memory_limit(4)
