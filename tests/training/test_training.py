"""Training parents: what comes out, seeds, cancelling, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusion_engine.architectures import MLPConfig
from fusion_engine.core.errors import Cancelled, DataError, ParentError
from fusion_engine.core.progress import ProgressEvent
from fusion_engine.data import Dataset, load_data, partition
from fusion_engine.evaluation import evaluate
from fusion_engine.parents import check_parents
from fusion_engine.training import train_parents


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits:train")


@pytest.mark.parametrize(
    ("name", "epochs"), [("mlp", 2), ("vgg", 2), ("vgg_bn", 2), ("resnet20", 2), ("resnet20_gn", 2), ("vit", 4)]
)
def test_parents_learn(name: str, epochs: int, digits: Dataset) -> None:
    parents = train_parents(name, digits, regime="full", epochs=epochs, batch_size=32, learning_rate=1e-2)
    check_parents(parents)
    test = load_data("digits:test")
    assert all(evaluate(p.model, None, test).accuracy > 0.8 for p in parents)
    assert not any(p.model.training for p in parents)
    assert parents[0].digest != parents[1].digest


def test_metadata_says_how_it_was_trained(digits: Dataset) -> None:
    parents = train_parents("mlp", digits, parents=3, seed=5, epochs=1, batch_size=64)
    for parent, share in zip(parents, partition(digits, 3, "non_iid", 5), strict=True):
        data = digits.subset(torch.from_numpy(share))
        assert parent.metadata.class_counts == data.counts.tolist()
        assert parent.metadata.data_digest == data.digest
        assert parent.metadata.training["seed"] == 5
        assert parent.metadata.training["regime"] == "non_iid"
        assert parent.metadata.training["epochs"] == 1
    counts = np.array([p.metadata.class_counts for p in parents])
    assert (counts.sum(0) == digits.counts).all()


@pytest.mark.parametrize("name", ["mlp", "resnet20", "vit"])
def test_one_seed_one_result_whatever_the_global_random_state(name: str, digits: Dataset) -> None:
    few = digits.subset(slice(None, None, 6))

    def digests(seed: int) -> list[str]:
        return [p.digest for p in train_parents(name, few, seed=seed, epochs=1, batch_size=128, width=0.5)]

    torch.manual_seed(1)
    first = digests(0)
    torch.manual_seed(2)
    assert digests(0) == first
    assert digests(1) != first


def test_same_init_starts_all_parents_alike(digits: Dataset) -> None:
    def distance(same_init: bool) -> float:
        a, b = train_parents("mlp", digits, epochs=1, learning_rate=1e-6, same_init=same_init)
        return float((a.state["fc1.weight"] - b.state["fc1.weight"]).norm())

    assert distance(True) < 0.01 < 1 < distance(False)


def test_parents_are_fine_tuned_from_a_base_model(digits: Dataset) -> None:
    [base] = train_parents("vgg_bn", digits, parents=1, regime="full", epochs=1, width=0.25)
    before = base.digest
    tuned = train_parents("vgg_bn", digits, regime="sharded", epochs=1, learning_rate=1e-6, base=base, width=0.25)
    for parent in tuned:
        weight = "features.0.weight"
        assert 0 < float((parent.state[weight] - base.state[weight]).norm()) < 0.01
        assert parent.metadata.training["base"] == before
    assert base.digest == before
    with pytest.raises(ParentError, match=r"parent_0 cannot be fine-tuned: it is vgg.*, not vgg"):
        train_parents("vgg_bn", digits, base=base)


def test_progress_rises_to_one_and_cancel_stops_at_once(digits: Dataset) -> None:
    events: list[ProgressEvent] = []
    train_parents("mlp", digits, epochs=1, on_progress=events.append)
    fractions = [e.fraction for e in events]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert {e.detail["parent"] for e in events} == {0, 1}

    seen: list[ProgressEvent] = []

    def cancel(event: ProgressEvent) -> None:
        seen.append(event)
        if len(seen) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        train_parents("mlp", digits, epochs=50, on_progress=cancel)
    assert len(seen) == 3


def test_sgd_and_an_explicit_config(digits: Dataset) -> None:
    config = MLPConfig((64, 8, 10), activation="tanh")
    parents = train_parents(config, digits, epochs=2, optimiser="sgd", learning_rate=0.1, regime="full")
    assert parents[0].architecture == config


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"parents": 0}, ParentError, "1 to 8"),
        ({"parents": 9}, ParentError, "1 to 8"),
        ({"epochs": 0}, ParentError, "1 epoch"),
        ({"optimiser": "adam"}, ParentError, "adamw"),
        ({"regime": "shards"}, DataError, "did you mean 'sharded'"),
        ({"architecture": "vg"}, ParentError, "did you mean 'vgg'"),
        ({"architecture": MLPConfig((9, 10))}, DataError, r"\(9,\)"),
        ({"width": 0.0}, ParentError, r"\(0, 8\]"),
        ({"architecture": MLPConfig((64, 10)), "width": 2.0}, ParentError, "widths already"),
    ],
)
def test_errors(arguments: dict, error: type, message: str, digits: Dataset) -> None:
    with pytest.raises(error, match=message):
        train_parents(**{"architecture": "mlp", "data": digits, **arguments})


def test_diverging_training_is_stopped(digits: Dataset) -> None:
    huge = Dataset(torch.full((len(digits), 64), 1e38), digits.y, classes=10, name="huge")
    with pytest.raises(ParentError, match="diverged"):
        train_parents("mlp", huge, epochs=1)


def test_unlabelled_data_is_refused(digits: Dataset) -> None:
    with pytest.raises(DataError, match="no labels"):
        train_parents(MLPConfig((64, 10)), Dataset(digits.x, None, name="bare"))
