import math

import pytest
import torch
import torch.nn.functional as F

from fusion_engine.core.errors import DataError
from fusion_engine.data import IGNORED, Dataset
from fusion_engine.evaluation import measure
from fusion_engine.tasks import find_task, required_task

REAL, IDS = torch.rand(4, 3), torch.tensor([[1, 2, 3], [3, 2, 0], [2, 2, 2], [1, 0, 0]])
BY_CLASS, BY_TOKEN, VALUES = torch.tensor([0, 1, 1, 0]), torch.randint(3, (4, 3)), torch.rand(4)
MASKED = torch.stack([IDS, (IDS > 0).long()], 1)


def dataset(x: torch.Tensor, y: torch.Tensor | None, classes: int = 0, **more: object) -> Dataset:
    inputs = ("input_ids", "attention_mask") if x.ndim == 3 and x.dtype == torch.int64 else ()
    return Dataset(x, y, classes=classes, inputs=inputs, **more)


@pytest.mark.parametrize(
    ("x", "y", "classes", "outputs", "name"),
    [
        (REAL, BY_CLASS, 2, (5,), "classification"),
        (REAL, None, 0, (5,), "classification"),
        (REAL, BY_CLASS, 2, (1,), "binary"),
        (REAL, BY_CLASS, 2, (), "binary"),
        (REAL, None, 0, (1,), None),
        (REAL, VALUES, 0, (), "regression"),
        (REAL, torch.rand(4, 2), 0, (2,), "regression"),
        (torch.rand(4, 1, 5, 6), torch.randint(3, (4, 5, 6)), 3, (3, 5, 6), "positions"),
        (torch.rand(4, 1, 5, 6), None, 0, (3, 5, 6), None),
        (IDS, BY_TOKEN, 3, (3, 5), "positions"),
        (IDS, BY_CLASS, 2, (2,), "classification"),
        (IDS, None, 0, (3, 9), "language"),
        (IDS, IDS, 4, (3, 9), "language"),
        (MASKED, MASKED[:, 0].masked_fill(MASKED[:, 1] == 0, IGNORED), 4, (3, 9), "language"),
        (IDS, None, 0, (3, 2), None),  # fewer outputs than tokens
        (IDS, BY_CLASS, 2, (3, 5), None),
        (REAL, BY_CLASS, 2, None, None),
    ],
)
def test_the_task_is_told_by_labels_and_outputs(
    x: torch.Tensor, y: torch.Tensor | None, classes: int, outputs: tuple[int, ...] | None, name: str | None
) -> None:
    task = find_task(dataset(x, y, classes), outputs)
    assert (None if task is None else task.name) == name
    assert task is None or bool(task.why) == (name != "classification")
    if task is None:
        with pytest.raises(DataError, match="nothing to judge by"):
            required_task(dataset(x, y, classes), outputs)


@pytest.mark.parametrize(
    ("x", "y", "classes", "outputs", "task", "message"),
    [
        (REAL, VALUES, 0, (10,), "auto", "class numbers as whole numbers"),
        (REAL, torch.tensor([0, 1, 2, 1]), 3, (1,), "auto", "go up to 2"),
        (REAL, BY_CLASS, 7, (5,), "auto", "go up to 6, but the model knows 5"),
        (IDS, BY_TOKEN, 3, (4, 5), "auto", "as many positions"),
        (IDS, BY_TOKEN, 3, (3, 5), "language", "language takes tokens"),
        (IDS, BY_CLASS, 2, (3, 5), "classification", "one class number a sample"),
        (REAL, BY_CLASS, 2, (5,), "positions", "as many positions"),
    ],
)
def test_labels_that_do_not_fit_are_refused_in_a_line(
    x: torch.Tensor, y: torch.Tensor, classes: int, outputs: tuple[int, ...], task: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        find_task(dataset(x, y, classes, task=task), outputs)
    assert "\n" not in str(caught.value)


def test_a_switch_decides() -> None:
    task = find_task(dataset(IDS, IDS, 4, task="positions"), (3, 9))
    assert task is not None
    assert task.name == "positions"
    assert "asked for" in task.why


def test_one_logit_is_measured_as_binary_cross_entropy() -> None:
    z = torch.tensor([2.0, -1.0, 0.5, 0.1])
    for outputs in (z, z[:, None]):
        found = measure(outputs, dataset(REAL, BY_CLASS, 2))
        assert found.accuracy == 0.25
        assert found.confusion == ((0, 2), (1, 1))
        assert found.loss == pytest.approx(float(F.binary_cross_entropy_with_logits(z, BY_CLASS.float())))


def test_one_output_spreads_to_two_logits_and_back() -> None:
    task = required_task(dataset(REAL, BY_CLASS, 2), (1,))
    z = torch.randn(6, 1)
    torch.testing.assert_close(task.outputs(task.spread(z)), z)
    torch.testing.assert_close(task.spread(z).softmax(-1)[:, 1:], z.sigmoid())


def test_values_are_measured_by_their_squared_error() -> None:
    found = measure(VALUES[:, None] + 0.1, dataset(REAL, VALUES))
    assert found.accuracy is None
    assert found.loss == pytest.approx(0.01, rel=1e-4)
    assert found.r2 == pytest.approx(1 - 0.01 / float(VALUES.var(correction=0)), rel=1e-4)
    assert measure(VALUES.mean().repeat(4), dataset(REAL, VALUES)).r2 == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("last", [True, False])
def test_positions_count_where_labels_and_masks_say_so(last: bool) -> None:
    labels = torch.tensor([[0, 1, 2], [1, IGNORED, 0], [2, 2, 2], [1, 1, 1]])
    data = dataset(MASKED, labels, 3) if last else dataset(torch.rand(4, 1, 3), labels, 3)
    logits = torch.randn(4, 3, 5)
    found = measure(logits if last else logits.movedim(-1, 1), data)
    kept = labels != IGNORED
    if last:
        kept &= IDS > 0
    assert found.loss == pytest.approx(float(F.cross_entropy(logits[kept], labels[kept])), rel=1e-5)
    assert sum(map(sum, found.confusion)) == int(kept.sum())
    assert found.accuracy == pytest.approx(float((logits.argmax(-1) == labels)[kept].float().mean()))


def test_language_models_are_measured_by_the_next_token() -> None:
    logits = torch.randn(4, 3, 6)
    kept = (IDS[:, 1:] > 0) & (IDS[:, :-1] > 0)
    expected = float(F.cross_entropy(logits[:, :-1][kept], IDS[:, 1:][kept]))
    found = measure(logits, dataset(MASKED, None))
    assert found.loss == pytest.approx(expected, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(expected), rel=1e-5)
    assert found.per_class == ()
    prompt = MASKED[:, 0].clone()
    prompt[:, 1] = IGNORED
    shorter = measure(logits, dataset(MASKED, prompt.masked_fill(IDS == 0, IGNORED), 4))
    expected = float(F.cross_entropy(logits[:, 1][kept[:, 1]], IDS[:, 2][kept[:, 1]]))
    assert shorter.loss == pytest.approx(expected, rel=1e-5)
