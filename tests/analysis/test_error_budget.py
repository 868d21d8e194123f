"""Error budget: nothing is lost between permuted copies; each row is what its definition says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis_cases import case, shuffled, undoing

from fusion_engine.analysis import error_budget
from fusion_engine.core.errors import DataError, ParentError
from fusion_engine.core.types import Grouping
from fusion_engine.evaluation import ensembles
from fusion_engine.fusing import OutputWeights
from fusion_engine.graph import merge_activations, merge_states, unmerge_activations
from tests.graph.traced_zoo import traced

HALVES = 0.5


def uniform(classes: int) -> OutputWeights:
    return OutputWeights(torch.full((2, classes), HALVES, dtype=torch.float64))


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "resnet", "vit_manual"])
def test_permuted_copies_lose_nothing(name: str) -> None:
    c = case(name)
    copy, orders = shuffled(c.trace, c.first)
    groupings = undoing(c.trace, orders)
    fused = merge_states([c.first, copy], c.trace, groupings)
    budget = error_budget(c.trace, [c.first, copy], fused, groupings, c.data, uniform(c.data.classes))
    assert budget.ensemble.accuracy == 1
    report = budget.as_json()
    assert [level["name"] for level in report["levels"]] == [level.name for level in c.trace.levels]
    for level in report["levels"]:
        assert (level["grouping_loss"], level["approximation_loss"]) == (0, 0)
        for part in ("grouped", "fused"):
            assert level[part]["loss"] == pytest.approx(report["ensemble"]["loss"], rel=1e-3)


@pytest.mark.parametrize("name", ["mlp", "vgg_bn_2fc", "resnet", "vit_manual", "conv1d_gn"])
def test_merging_what_was_unmerged_gives_it_back(name: str) -> None:
    zoo = traced(name)
    copy, orders = shuffled(zoo.trace, zoo.state)
    groupings = undoing(zoo.trace, orders)
    for level in zoo.trace.levels[:-1]:
        node = level.output
        program = type(zoo.program)(zoo.trace, None, [node])
        with torch.no_grad():
            own, others = (program(state, *zoo.inputs)[0] for state in (zoo.state, copy))
        copies = unmerge_activations(zoo.trace, groupings, node, own, 2)
        torch.testing.assert_close(copies[0], own)
        torch.testing.assert_close(copies[1], others)
        torch.testing.assert_close(merge_activations(zoo.trace, groupings, node, copies), own)


def test_rows_are_what_they_are_called() -> None:
    """A network without batch norms, by hand, with groups of two that merge different neurons."""
    c = case("mlp")
    first, second = c.first, c.second
    names = list(c.trace.spaces)
    sizes = {name: space.size for name, space in c.trace.spaces.items()}
    random = np.random.default_rng(0)
    groupings = {}
    for name, n in sizes.items():
        order = random.permutation(n)
        back = np.zeros((n, n))
        back[order, np.arange(n)] = 1
        groupings[name] = Grouping(name, "test", (0.7 * np.eye(n), 0.3 * back), (np.eye(n), back.T))
    fused = {name: tensor + 0.01 for name, tensor in merge_states([first, second], c.trace, groupings).items()}
    weights = torch.rand(2, c.data.classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    head = OutputWeights(weights / weights.sum(0))
    budget = error_budget(c.trace, [first, second], fused, groupings, c.data, head)

    joined = ensembles(torch.stack([c.logits(s) for s in (first, second)]), head.weights)["head_weighted_ensemble"]
    right = float((joined.argmax(1) == c.data.y).float().mean())
    assert budget.ensemble.accuracy == right == budget.levels[-1].grouped.accuracy
    assert budget.levels[-1].fused.accuracy == pytest.approx(c.right(fused))
    assert budget.levels[-1].fused.loss == pytest.approx(c.loss(fused), rel=1e-5)

    level = c.trace.levels[0]
    features = type(traced("mlp").program)(c.trace, None, [level.output])
    rest = type(traced("mlp").program)(c.trace, [level.output], [c.trace.output])
    with torch.inference_mode():
        f, g, h = (features(s, c.data.x)[0].double() for s in (first, second, fused))
        m = [torch.as_tensor(x) for x in groupings[names[0]].merge]
        u = [torch.as_tensor(x) for x in groupings[names[0]].unmerge]
        for part, merged in (("grouped", f @ m[0].T + g @ m[1].T), ("fused", h)):
            logits = [rest(s, (merged @ x.T).float())[0] for s, x in zip((first, second), u, strict=True)]
            wanted = torch.nn.functional.cross_entropy(head.target(logits), c.data.y)
            assert getattr(budget.levels[0], part).loss == pytest.approx(float(wanted), rel=1e-4)


def test_a_fused_network_of_another_width() -> None:
    """Every neuron of both networks kept: the fused features are the parents' own, and nothing is lost by grouping."""
    from fusion_engine.architectures import MLPConfig, build
    from fusion_engine.graph import trace

    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = [build(MLPConfig((6, 5, 4, 3))).eval() for _ in range(2)]
        wide = build(MLPConfig((6, 10, 8, 3))).eval()
    graph = trace(models[0], (x[:2],))
    graph = replace(graph, variants=(trace(wide, (x[:2],)),))
    states = [m.state_dict() for m in models]
    groupings = {}
    for name, space in graph.spaces.items():
        eye, none = np.eye(space.size), np.zeros((space.size,) * 2)
        merge = (np.concatenate([eye, none]), np.concatenate([none, eye]))
        groupings[name] = Grouping(name, "test", merge, tuple(m.T for m in merge))
    from fusion_engine.data import Dataset

    fused = merge_states(states, graph, groupings)
    data = Dataset(x, torch.arange(40) % 3, classes=3)
    for level in error_budget(graph, states, fused, groupings, data, uniform(3)).as_json()["levels"]:
        assert level["grouping_loss"] == 0


def test_what_cannot_be() -> None:
    c = case("mlp")
    copy, orders = shuffled(c.trace, c.first)
    groupings = undoing(c.trace, orders)
    with pytest.raises(DataError, match="no labels"):
        error_budget(c.trace, [c.first, copy], c.first, groupings, replace(c.data, y=None), uniform(2))
    with pytest.raises(ParentError, match="another number of parents"):
        error_budget(c.trace, [c.first, copy, copy], c.first, groupings, c.data, uniform(2))
