"""Addresses that name what is not there, or something else: one line, on every page."""

from __future__ import annotations

import pytest
import samples

from fusion_engine import store
from fusion_engine.store.files import write_json
from pages.components.lesson import digit_view

WHERE = {"parents": samples.PARENTS, "data": "digits:train", "test": "digits:test"}


@pytest.mark.parametrize(("page", "key", "more"), [
    ("learn", "drawn", {"chapter": "average", "problem": "own"}), ("learn", "demo", {"chapter": "digit"}),
    ("share", "sharing", {}), ("start", "demo", {}), ("fuse", "job", WHERE), ("parents", "import", {}),
    ("compare", "budget", {"closer": "budget"}),
])  # fmt: skip
def test_a_job_of_another_kind_is_one_line(open_page, filled, page, key, more) -> None:
    samples.add_fusion()
    other = samples.add_run("explore", {"parents": samples.PARENTS, "data": "digits:train"})
    app = open_page(page, **more, **{key: other})
    (error,) = app.error
    assert "this address names something else" in error.value
    assert "job of the kind explore" in error.value.replace("\\", "")


def test_a_fusion_that_reads_no_digits_is_one_line(open_page, filled) -> None:
    app = open_page("learn", chapter="digit", demo=samples.add_fusion())
    assert app.error[0].value.replace("\\", "").endswith("is no fusion of networks that read digits")
    assert not app.get("bidi_component")
    assert not digit_view._fits("nonsense")


def test_an_analysis_without_a_budget_is_no_budget(open_page, filled) -> None:
    run = samples.add_fusion()
    other = samples.add_run("analyse", {"run": run, "data": "digits:test", "what": ["similarity"]})
    write_json(store.run_folder(other) / "result.json", {"samples": 5, "notes": []})
    app = open_page("compare", run=run, closer="budget", budget=other)
    assert any(button.key == f"budget-{run}" for button in app.button)


@pytest.mark.parametrize(("page", "address"), [
    ("explore", {"parents": "../../etc", "data": "';"}), ("compare", {"runs": "nonsense"}),
    ("share", {"sharing": "../x"}), ("learn", {"chapter": "average", "drawn": "..", "problem": "own"}),
])  # fmt: skip
def test_nonsense_is_one_line_or_the_usual(open_page, filled, page, address) -> None:
    app = open_page(page, **address)
    said = [e.value for e in app.error] + [m.value for m in app.markdown]
    assert any(said)
    if page == "compare":  # nothing of that name: as without it
        assert "No network has been fused yet." in said
        samples.add_fusion()
        (warning,) = open_page(page, **address).warning
        assert "1 run that is no finished fusion of this store: nonsense" in warning.value
    else:
        assert len(app.error) == 1
        assert any(button.label == "Start afresh" for button in app.button)
