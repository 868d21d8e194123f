"""The sign of jobs at work that every page has, and what it lists."""

from __future__ import annotations

import re

import samples

from fusion_engine import store
from fusion_engine.jobs import client

JOB = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test", "recipe": "kf_linear"}


def links(app) -> dict[str, str]:
    return {link.proto.label: f"{link.proto.page}?{link.proto.query_string}" for link in app.get("page_link")}


def test_jobs_at_work_are_listed_with_cancel_and_a_link(open_page, filled) -> None:
    run = samples.add_run("fuse", JOB, "running")
    samples.add_run("train", {"arch": "mlp", "parents": 3}, "queued")
    app = open_page("compare")
    cancel = [b for b in app.button if (b.key or "").startswith("jobs-cancel")]
    assert len(cancel) == 2
    found = links(app)
    fuse = next(address for label, address in found.items() if label.startswith("Fuse · kf"))
    assert f"job={run}" in fuse
    assert f"parents={samples.PARENTS}" in fuse
    train = next(address for label, address in found.items() if label.startswith("Train parents · mlp"))
    assert "parents=3" not in train  # a number of parents is no parent set
    next(b for b in cancel if run in b.key).click().run()
    assert client.status(run)["state"] == "cancelled"


def test_what_the_progress_knows_of_the_time_left(open_page, filled, monkeypatch) -> None:
    run = samples.add_run("fuse", JOB, "running")
    address = {key: JOB[key] for key in ("parents", "data", "test")} | {"job": run}
    app = open_page("fuse", **address)
    assert not [m.value for m in app.markdown if "left" in m.value]
    monkeypatch.setattr(store, "expected", lambda kind, arguments: store.Expected(9.0, 2, True))
    app = open_page("fuse", **address)
    assert [m.value for m in app.markdown if re.search(r"about \d\u202fs left", m.value)]
    assert "About 9\u202fs, from 2 such runs." in " ".join(c.value for c in app.caption)
