"""Where training after the solve starts from: what it is chosen by, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from fusion_engine import fuse, load_data
from fusion_engine.core.errors import FusionError
from fusion_engine.data import balanced_sample
from fusion_engine.demo import load_demo
from fusion_engine.fusing.forward_work import EFFORTS
from fusion_engine.fusing.training import TrainingSettings, train
from fusion_engine.post.distillation import affordable, trend
from fusion_engine.post.starts import verdict
from tests.post.fused_cases import fused_case

BASE = {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"}
# A grouping that fuses these parents badly: no training of a few steps makes up for it.
BAD = {"importance": "activation", "grouping": "identity", "solver": "average"}
STEP = {"method": "full_distillation", "steps": 20, "rate": 1e-4}


@pytest.fixture(scope="module")
def setting():
    data = load_data("digits:train")
    return load_demo("mlp")[:2], data.subset(balanced_sample(data, 15).tolist())


def distilled(setting, base: dict, **parameters):
    parents, data = setting
    return fuse(parents, data, {**base, "post": [{**STEP, **parameters}]})


def test_best_parent_is_trained_from_its_own_weights(setting) -> None:
    """Hopeless training hands back what it started from: the parent, to the bit."""
    result = distilled(setting, BAD, start="best_parent", rate=1.0, patience=1)
    decision = result.report["decisions"]["full_distillation"]
    losses = {name: loss for name, loss in decision["starts_held_out"].items() if name.startswith("parent")}
    best = min(losses, key=losses.__getitem__)
    parent = setting[0][int(best.split()[1]) - 1]
    assert decision["start"] == best
    assert all(torch.equal(result.state[name], tensor) for name, tensor in parent.state.items())
    assert not any("too few to tell" in line for line in result.report["warnings"])  # they are the same


def test_auto_takes_the_parent_where_fusing_fails_and_says_so(setting) -> None:
    result = distilled(setting, BAD, start="auto")
    decision = result.report["decisions"]["full_distillation"]
    assert decision["start"].startswith("parent ")
    assert decision["held_out_after"] <= min(decision["starts_held_out"].values())
    assert any("fusing did not pay here" in line for line in result.report["warnings"])


def test_auto_takes_the_fused_network_where_fusing_works(setting) -> None:
    result = distilled(setting, BASE, start="auto")
    decision = result.report["decisions"]["full_distillation"]
    assert decision["start"] == "the fused network"
    assert decision["held_out_after"] <= min(decision["starts_held_out"].values())
    assert not any("did not pay" in line for line in result.report["warnings"])
    assert any("it started from the fused network (held-out loss" in line for line in result.report["warnings"])


def test_auto_with_trials_is_as_good_as_every_start(setting) -> None:
    decision = distilled(setting, BAD, start="auto", rate="auto", steps=60).report["decisions"]["full_distillation"]
    assert decision["start"].startswith("parent ")
    assert set(decision["rates_held_out"]) >= {"0.0005", "0.0001"}
    assert decision["held_out_after"] < decision["held_out_before"]


def test_more_effort_trains_both_starts_to_the_end(setting) -> None:
    """Whatever the trials say, the better end decides."""
    ends = {
        start: distilled(setting, BAD, start=start, effort="standard").report["decisions"]["full_distillation"]
        for start in ("fused", "best_parent", "auto")
    }
    assert ends["auto"]["held_out_after"] == min(ends[s]["held_out_after"] for s in ("fused", "best_parent"))


class Losses:
    """Held-out losses, sample by sample, of a parent and of a result."""

    label = "full_distillation"

    def __init__(self, parent: list[float], result: list[float]) -> None:
        self.losses = {"parent": torch.tensor(parent), "result": torch.tensor(result)}

    def held_out_losses(self, state) -> torch.Tensor:
        return self.losses[state["name"]]


@pytest.mark.parametrize("spread", [0.1, 2.0])
def test_what_held_out_samples_cannot_tell_is_said(spread: float) -> None:
    """Ten samples, on the mean 0.5 better: that is more than noise where they agree, and not where they do not."""
    gains = [0.5 - spread, 0.5 + spread] * 5
    judge = Losses([2.0] * 10, [2.0 - gain for gain in gains])
    known = {"the fused network": {}, "parent 1": {"name": "parent"}}
    before = {"the fused network": 1.9, "parent 1": 2.0}
    lines = verdict(judge, known, before, "the fused network", 1.5, {"name": "result"})
    doubt = [line for line in lines if "10 held-out samples are too few to tell whether" in line]
    assert len(doubt) == (spread == 2.0)
    assert all("differ by 0.500, with a standard error of 0.667" in line for line in doubt)


def test_parents_of_other_widths_are_no_start(setting) -> None:
    with pytest.raises(FusionError, match="not as wide as the fused network; use start 'fused'"):
        distilled(setting, {**BASE, "width": 1.5}, start="best_parent")
    report = distilled(setting, {**BASE, "width": 1.5}, start="auto").report
    assert report["decisions"]["full_distillation"]["start"] == "the fused network"
    assert any("no parent is as wide as the fused network" in line for line in report["warnings"])


def test_trend_looks_ahead_but_not_at_the_beginning() -> None:
    assert trend([9.0, 9.0, 9.0, 3.0, 2.0, 1.0]) < 1.0
    assert trend([1.0, 1.0, 1.0, 1.0]) == 1.0
    assert trend([0.0, 1.0, 2.0, 3.0]) > 3.0
    assert trend([1.0, 1.0, math.nan, 1.0]) == math.inf


def test_effort_means_work() -> None:
    _, fusion, _ = fused_case("vgg11")
    counted = {}
    for effort, factor in EFFORTS.items():
        steps, batch = affordable(fusion.trace, "auto", "auto", effort, 2)
        counted[effort] = steps * batch
        assert steps >= 60 * factor
    assert counted["quick"] < counted["standard"] < counted["thorough"]
    assert affordable(fusion.trace, 7, 9, "thorough", 2) == (7, 9)


def test_mean_of_the_weights_is_kept_where_it_is_better() -> None:
    """Steps that jump from one side of the valley to the other: the mean lies at its bottom."""
    begin = {"w": torch.tensor([1.0])}
    settings = TrainingSettings(40, 10, 40, 0.8, optimiser="sgd", scheduler="constant")

    def loss(weights):
        return 1.05 * weights["w"].abs().sum(), 1

    def judge(weights) -> float:
        return float(weights["w"].abs().sum())

    alone, smooth = (train(begin, loss, judge, replace(settings, average=on)).best for on in (False, True))
    assert smooth < 0.8 * alone
