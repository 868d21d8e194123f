"""What has to hold of every method, as functions that raise AssertionError where it does not.

The tests of this folder call them for every registered method, and for methods with planted faults, each of which one
of them has to find. Each check takes a case and methods; `CHECKS` has, by kind, those that take one method alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from fusion_engine.core.types import Grouping

from .cases import ACTIVATION, Case, State, close, same_groupings
from .engine import (
    Method,
    Scores,
    fuse_states,
    group_states,
    is_equivariant,
    is_linear,
    output_tensors,
    refine_state,
    score_state,
    uses,
)
from .methods import companion, trains, variants

__all__ = ["AVERAGE", "CHECKS", "DIFFERENT", "ONCE", "PERMUTATION", "WITHOUT_NUMBERS", "Check"]

Check = Callable[[Case, Method], None]
DIFFERENT = ("first", "second")
AVERAGE = Method("solver", "average")
PERMUTATION = Method("grouping", "permutation")
KMEANS = Method("grouping", "kmeans")


# ---- nothing is left behind, nothing is changed, chance comes from the seed


@contextmanager
def nothing_left_behind(*states: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside: states are not changed, no hook that is set on a module outlives the work, and the global random state is
    neither used nor set. An error that the work ends with has to be caught inside too."""
    before = [{k: v.clone() for k, v in state.items()} for state in states]
    outside = torch.get_rng_state(), np.random.get_state()
    torch.manual_seed(4711)  # what nobody else would set
    np.random.seed(4711)
    chance = torch.get_rng_state(), np.random.get_state()[1:3]
    handles: list[Any] = []
    setters = [name for name in dir(nn.Module) if name.startswith("register_") and name.endswith("hook")]
    originals = {name: getattr(nn.Module, name) for name in setters}
    everywhere = {name: dict(value) for name, value in vars(torch_module).items() if name.startswith("_global_")
                  and isinstance(value, dict)}  # fmt: skip

    def counted(name: str) -> Callable[..., Any]:
        def register(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            handles.append(originals[name](self, *args, **kwargs))
            return handles[-1]

        return register

    for name in setters:
        setattr(nn.Module, name, counted(name))
    try:
        yield
    finally:
        for name in setters:
            setattr(nn.Module, name, originals[name])
        now = torch.get_rng_state(), np.random.get_state()[1:3]
        torch.set_rng_state(outside[0])
        np.random.set_state(outside[1])
    left = [handle for handle in handles if handle.id in (handle.hooks_dict_ref() or {})]
    for handle in left:
        handle.remove()
    assert not left, f"{len(left)} hooks are left on modules"
    for name, hooks in everywhere.items():
        assert dict(getattr(torch_module, name)) == hooks, f"{name} has changed"
    assert torch.equal(chance[0], now[0]), "torch's global random state was used or set"
    numpy_is_the_same = (chance[1][0] == now[1][0]).all() and chance[1][1] == now[1][1]
    assert numpy_is_the_same, "NumPy's global random state was used or set"
    for old, state in zip(before, states, strict=True):
        assert old.keys() == state.keys(), "a given state got or lost tensors"
        assert all(torch.equal(old[k], state[k]) for k in old), "a given state was changed"


def like(fused: State, case: Case) -> None:
    """Names, shapes and types are the parents', and what comes out can be trained further."""
    wanted = {k: (v.shape, v.dtype) for k, v in case.state("first").items()}
    assert {k: (v.shape, v.dtype) for k, v in fused.items()} == wanted
    assert not any(tensor.is_inference() or tensor.requires_grad for tensor in fused.values())
    assert all(tensor.isfinite().all() for tensor in fused.values())


def same_seed_same_bits(case: Case, grouping: Method, solver: Method) -> None:
    """Invariant 4."""
    parents = case.parents(*DIFFERENT, counted=True)
    one, groups = case.fused(DIFFERENT, grouping, solver)
    with nothing_left_behind(*parents.states):
        other, again = fuse_states(parents, grouping, solver)
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert same_groupings(groups, again)
    like(one, case)


# ---- one function in other orders of its neurons


def copies_give_the_parent_back(case: Case, grouping: Method, solver: Method) -> None:
    """Invariant 2."""
    fused, _ = fuse_states(case.parents("first", "first, shuffled", counted=True), grouping, solver)
    close(case.outputs(fused), case.outputs_of("first"))


def one_parent_comes_back(case: Case, grouping: Method, solver: Method) -> None:
    """Invariant 3."""
    fused, _ = fuse_states(case.parents("first", counted=True), grouping, solver)
    close(case.outputs(fused), case.outputs_of("first"))


def steps_give_the_parent_back(case: Case, step: Method, grouping: Method) -> None:
    """Invariants 2 and 3, after a refining step."""
    for names in (("first",), ("first", "first, shuffled")):
        parents = case.parents(*names)
        fused, groupings = fuse_states(parents, grouping, AVERAGE)
        close(case.outputs(refine_state(parents, groupings, fused, step)), case.outputs_of("first"))


def alike_neurons_are_told_apart(case: Case, grouping: Method) -> None:
    """Copies of a parent whose neurons are nearly twins: what is blurred between twins is lost."""
    if not uses(grouping):
        return
    fused, _ = fuse_states(case.parents("alike", "alike, shuffled"), grouping, AVERAGE)
    close(case.outputs(fused), case.outputs_of("alike"))


def order_of_neurons_is_nothing(
    case: Case,
    grouping: Method,
    solver: Method,
    importance: Method = ACTIVATION,
    step: Method | None = None,
    other_parent: str = "second",
) -> None:
    """Invariant 7: two parents that differ, and the same with the second one's neurons in another order, give the same
    network; training makes more of the rounding in which they differ."""
    tolerance = 5e-2 if trains(solver) or (step is not None and trains(step)) else 2e-3
    one, other = (
        _fused_and_refined(case, ("first", name), grouping, solver, importance, step)
        for name in (other_parent, f"{other_parent}, shuffled")
    )
    expected = case.outputs(one)
    difference = float((case.outputs(other) - expected).abs().max() / expected.std())
    assert difference < tolerance, f"another order of a parent's neurons changes the outputs by {difference:.2g}"


def _fused_and_refined(
    case: Case, names: tuple[str, ...], grouping: Method, solver: Method, importance: Method, step: Method | None
) -> State:
    fused, groupings = case.fused(names, grouping, solver, importance)
    if step is None:
        return fused
    return refine_state(case.parents(*names, importance=importance, counted=True), groupings, fused, step)


# ---- order of the samples, scale of the importances


def order_of_samples_is_nothing(case: Case, grouping: Method, solver: Method) -> None:
    """Invariant 5, for what does not draw samples: nothing sorts them here."""
    shuffled = case.data.subset(torch.randperm(len(case.data), generator=torch.Generator().manual_seed(3)))
    one, _ = case.fused(DIFFERENT, grouping, solver)
    other, _ = fuse_states(case.parents(*DIFFERENT, counted=True, data=shuffled), grouping, solver)
    close(case.outputs(one), case.outputs(other), 1e-3)


def scale_of_importance_is_nothing(case: Case, grouping: Method, solver: Method) -> None:
    """Invariant 6."""
    one, _ = case.fused(DIFFERENT, grouping, solver)
    other, _ = fuse_states(case.parents(*DIFFERENT, scale=64.0, counted=True), grouping, solver)
    close(case.outputs(one), case.outputs(other), 1e-5)


# ---- importances


def scores_are_sound(case: Case, importance: Method) -> None:
    """One positive number a neuron, the same at every call; not all the same where a method looks at anything."""
    first, second = case.state("first"), case.state("second")
    with nothing_left_behind(first, case.tensors):
        scores = score_state(case.trace, first, case.data, importance)
    again = score_state(case.trace, first, case.data, importance)
    others = score_state(case.trace, second, case.data, importance)
    assert scores.keys() <= {*case.trace.spaces, "output"}
    assert scores.keys() == again.keys() == others.keys()
    for name, values in scores.items():
        assert values.dtype == torch.float64
        assert name == "output" or values.shape == (case.trace.spaces[name].size,)
        assert bool((values >= 1e-8).all())
        assert torch.equal(values, again[name])
        if uses(importance) and len(values) > 1:
            assert not bool((values == values[0]).all()), f"all neurons of {name} count the same"
            assert not torch.equal(values, others[name]), f"the scores of {name} are the same for another network"


def scores_ignore_the_order_of_samples(case: Case, importance: Method) -> None:
    """Invariant 5."""
    shuffled = case.data.subset(torch.randperm(len(case.data), generator=torch.Generator().manual_seed(3)))
    scores = case.scores("second", importance)
    others = score_state(case.trace, case.state("second"), shuffled, importance)
    for name in scores:
        _close_scores(name, others[name], scores[name])


def scores_follow_their_neurons(case: Case, importance: Method) -> None:
    """Neurons in another order have their scores in that order."""
    scores, moved = case.scores("second", importance), case.scores("second, shuffled", importance)
    for name in scores:
        order = torch.as_tensor(case.orders.get(name, np.arange(len(scores[name]))))
        if name not in case.inner:
            _close_scores(name, moved[name], scores[name][order])
    # What lies inside heads or channel groups also goes where these go: all of one kind together are compared.
    for kind in case.inner_kinds:
        together = [torch.cat([found[name] for name in kind]).sort().values for found in (moved, scores)]
        _close_scores(kind[0], *together)


def _close_scores(name: str, one: Tensor, other: Tensor) -> None:
    assert float((one - other).abs().max()) <= 1e-3 * float(other.max()), f"the scores of {name} do not follow"


def importances_shape_the_network(case: Case, importance: Method) -> None:
    """Fusing by these scores does not depend on the order of the neurons either."""
    order_of_neurons_is_nothing(case, Method("grouping", "balanced"), AVERAGE, importance)


# ---- groupings


def grouping_is_sound(case: Case, grouping: Method) -> None:
    """Of parents that have nothing in common: shares are shares, labels and matrices say the same, pairs are pairs."""
    parents = case.parents("first", "stranger")
    with nothing_left_behind(*parents.states):
        groupings = group_states(parents, grouping)
    assert list(groupings) == list(case.trace.spaces)
    for name, found in groupings.items():
        size, fallback = case.trace.spaces[name].size, bool(found.info.get("fallback"))
        assert found.size == size
        assert [m.shape for m in found.merge] == [u.T.shape for u in found.unmerge] == [(size, size)] * 2
        assert all(np.isfinite(m).all() for m in (*found.merge, *found.unmerge))
        if not is_linear(grouping):
            _shares_are_shares(found)
        if found.labels is not None:
            _labels_are_told_truly(found)
        if grouping.spec.pairs and not fallback:
            assert all(((m != 0).sum(1) == 1).all() and ((m != 0).sum(0) == 1).all() for m in found.merge), name


def _shares_are_shares(found: Grouping) -> None:
    np.testing.assert_allclose(sum(m.sum(1) for m in found.merge), 1.0, atol=1e-9, err_msg=f"merge of {found.space}")
    for unmerge in found.unmerge:
        np.testing.assert_allclose(unmerge.sum(1), 1.0, atol=1e-9, err_msg=f"unmerge of {found.space}")


def _labels_are_told_truly(found: Grouping) -> None:
    assert found.labels is not None
    for labels, merge, unmerge in zip(found.labels, found.merge, found.unmerge, strict=True):
        one = labels[None, :] == np.arange(found.size)[:, None]
        assert not merge[~one].any(), f"{found.space}: neurons are merged where their labels do not say so"
        assert (unmerge == one.T).all(), f"{found.space}: neurons are given back where their labels do not say so"
    joined = sum(m @ u for m, u in zip(found.merge, found.unmerge, strict=True))
    np.testing.assert_allclose(joined, np.eye(found.size), atol=1e-9)


def grouping_ignores_the_order_of_neurons(case: Case, grouping: Method) -> None:
    """Invariant 7, for groupings that say so; strangers as well, between which no match stands out."""
    if is_equivariant(grouping):
        for name in ("second", "stranger"):
            order_of_neurons_is_nothing(case, grouping, AVERAGE, other_parent=name)


def grouping_is_the_same_again(case: Case, grouping: Method) -> None:
    """Invariant 4; strangers as well, between which no match stands out."""
    same_seed_same_bits(case, grouping, AVERAGE)
    one, other = (group_states(case.parents("first", "stranger"), grouping) for _ in range(2))
    assert same_groupings(one, other)


def copies_are_grouped(case: Case, grouping: Method) -> None:
    """Invariant 2, but for a grouping that looks at nothing."""
    if uses(grouping):
        copies_give_the_parent_back(case, grouping, AVERAGE)


# ---- what is used has to matter


def importance_matters(case: Case, method: Method) -> None:
    """With parameters with which a method says it uses importances, others give another network; with those with which
    it does not say so, they do not."""
    scores = [case.scores(name) for name in DIFFERENT]
    others = [_tilted(own, reverse=p == 1) for p, own in enumerate(scores)]
    for variant in dict.fromkeys((method, *variants(method.kind, method.name, numbers=False))):
        one, other = _apply(case, variant, scores), _apply(case, variant, others)
        reacts = any(not torch.equal(one[k], other[k]) for k in one)
        said = "importance" in uses(variant)
        assert reacts or not said, f"{variant}: importances make no difference"
        assert said or not reacts, f"{variant}: importances make a difference, and it does not say so"


def _tilted(scores: Scores, reverse: bool) -> Scores:
    """Importances that grow along the neurons, a hundredfold."""
    tilts = {name: torch.logspace(-1, 1, len(s), dtype=torch.float64) for name, s in scores.items()}
    return {name: tilt.flip(0) if reverse else tilt for name, tilt in tilts.items()}


def _apply(case: Case, method: Method, scores: list[Scores]) -> State:
    """The fused state with this method and plain others."""
    counted = dict(method.parameters).get("head_weights") != "known_share"  # which takes importances without counts
    parents = case.parents(*DIFFERENT, scores=scores, counted=counted)
    uniform = Method("solver", "average", (("head_weights", "uniform"),))
    if method.kind == "grouping":
        return fuse_states(parents, method, uniform)[0]
    grouping = plain_grouping(method) if method.kind == "solver" else PERMUTATION
    if method.kind == "solver":
        return fuse_states(parents, grouping, method)[0]
    fused, groupings = fuse_states(parents, grouping, uniform)
    return refine_state(parents, groupings, fused, method)


def plain_grouping(solver: Method) -> Method:
    accepts = solver.spec.accepts
    return PERMUTATION if accepts is None or "permutation" in accepts else Method("grouping", sorted(accepts)[0])


def every_parent_matters(case: Case, solver: Method) -> None:
    """Another parent in either place gives another network."""
    grouping = plain_grouping(solver)
    one, _ = case.fused(DIFFERENT, grouping, solver)
    for names in (("stranger", "second"), ("first", "stranger")):
        other, _ = case.fused(names, grouping, solver)
        difference = float((case.outputs(one) - case.outputs(other)).abs().max())
        assert difference > 1e-3, f"{names} give what {DIFFERENT} give"


def classes_are_learnt_from_whom_they_trust(case: Case, method: Method) -> None:
    """Parents that differ in their last layer alone; the first one's output scores say class 0, the second one's the
    others. What comes out is nearer to that than to the reverse."""
    if not case.has_classes or not _weighs_classes(method):
        return
    first = case.state("first")
    stranger = case.state("stranger")
    second = {**first, **{name: stranger[name] for name in output_tensors(case.trace)}}
    scores = case.scores("first")
    knows = torch.full_like(scores["output"], 1e-4)
    knows[0] = 1.0
    other = torch.ones_like(knows)
    other[0] = 1e-4
    chosen = Method(method.kind, method.name, (*_longer(method), ("head_weights", "importance")))
    parents = case.parents("first", "first", scores=[{**scores, "output": knows}, {**scores, "output": other}])
    parents = type(parents)(**{**vars(parents), "states": [first, second]})
    grouping, uniform = Method("grouping", "identity"), Method("solver", "average", (("head_weights", "uniform"),))
    if method.kind == "solver":
        fused, _ = fuse_states(parents, grouping, chosen)
    else:
        state, groupings = fuse_states(parents, grouping, uniform)
        fused = refine_state(parents, groupings, state, chosen)
    one, two = case.outputs(first), case.outputs(second)
    right, swapped = torch.cat([one[:, :1], two[:, 1:]], 1), torch.cat([two[:, :1], one[:, 1:]], 1)
    outputs = case.outputs(fused)
    if trains(method):  # towards an ensemble of predictions
        outputs, right, swapped = (t.softmax(1) for t in (outputs, right, swapped))
    assert float((outputs - right).norm()) < float((outputs - swapped).norm()), "classes come from the wrong parents"


def _weighs_classes(method: Method) -> bool:
    return any(p.name == "head_weights" for p in method.spec.parameters)


def _longer(method: Method) -> tuple[tuple[str, Any], ...]:
    names = {p.name for p in method.spec.parameters}
    return tuple((k, v) for k, v in {"steps": 60, "epochs": 5, "mixtures": 0}.items() if k in names)


# ---- solvers


def solver_is_the_same_again(case: Case, solver: Method) -> None:
    """Invariant 4."""
    same_seed_same_bits(case, plain_grouping(solver), solver)


def solver_ignores_the_order_of_neurons(case: Case, solver: Method) -> None:
    """Invariant 7, behind the equivariant groupings it takes."""
    for grouping in companion(solver.name):
        order_of_neurons_is_nothing(case, grouping, solver)


def solver_ignores_the_order_of_samples(case: Case, solver: Method) -> None:
    """Invariant 5, for solvers that do not draw samples: no parameter is chosen by held-out ones either."""
    if not trains(solver):
        order_of_samples_is_nothing(case, plain_grouping(solver), without_choices(solver))


def without_choices(method: Method) -> Method:
    """The method with a number in place of every 'auto', which would draw samples to judge by."""
    settings = dict(method.settings)
    for parameter in method.spec.parameters:
        if settings.get(parameter.name, parameter.default) == "auto" and "auto" in parameter.words:
            settings[parameter.name] = (parameter.ge or 0) + (1 if parameter.type == "int" else 0.01)
    return Method(method.kind, method.name, tuple(settings.items()))


def solver_gives_copies_back(case: Case, solver: Method) -> None:
    """Invariant 2."""
    for grouping in companion(solver.name)[:1]:
        copies_give_the_parent_back(case, grouping, solver)


def solver_gives_one_back(case: Case, solver: Method) -> None:
    """Invariant 3."""
    one_parent_comes_back(case, plain_grouping(solver), solver)


# ---- steps


def step_keeps_the_rest(case: Case, step: Method, solver: Method, grouping: Method = KMEANS) -> None:
    """Shapes and types stay, the given states are untouched, and buffers move only where that is the step's purpose."""
    parents = case.parents(*DIFFERENT, counted=True)
    fused, groupings = case.fused(DIFFERENT, grouping, solver)
    with nothing_left_behind(fused, *parents.states):
        refined = refine_state(parents, groupings, fused, step)
    like(refined, case)
    parameters = {alias for name in case.trace.parameters for alias in case.trace.aliases.get(name, (name,))}
    kept = parameters if step.spec.statistics else set(fused) - parameters
    assert all(torch.equal(refined[k], fused[k]) for k in kept)


def step_is_sound(case: Case, step: Method) -> None:
    """After solver average; and the same comes at every call."""
    step_keeps_the_rest(case, step, AVERAGE, PERMUTATION)
    parents, (fused, groupings) = case.parents(*DIFFERENT, counted=True), case.fused(DIFFERENT, PERMUTATION, AVERAGE)
    one, other = (refine_state(parents, groupings, fused, step) for _ in range(2))
    assert all(torch.equal(one[k], other[k]) for k in one)


def step_ignores_the_order_of_neurons(case: Case, step: Method) -> None:
    """Invariant 7, but for training that may start from the parents' plain average, which goes by their order."""
    if dict(step.parameters).get("start") not in ("average", "auto"):
        order_of_neurons_is_nothing(case, PERMUTATION, AVERAGE, step=step)


def step_ignores_the_order_of_samples(case: Case, step: Method) -> None:
    """Invariant 5, for steps that do not draw samples."""
    if trains(step):
        return
    shuffled = case.data.subset(torch.randperm(len(case.data), generator=torch.Generator().manual_seed(3)))
    fused, groupings = case.fused(DIFFERENT, PERMUTATION, AVERAGE)
    one, other = (
        refine_state(case.parents(*DIFFERENT, data=data), groupings, fused, step) for data in (case.data, shuffled)
    )
    close(case.outputs(one), case.outputs(other), 1e-3)


def step_gives_the_parent_back(case: Case, step: Method) -> None:
    """Invariants 2 and 3."""
    if restores(step):
        steps_give_the_parent_back(case, step, PERMUTATION)


def restores(step: Method) -> bool:
    """Whether a step puts right what merging did to the parents' features: nothing, where all parents are one. Training
    and statistics of the calibration samples change a parent too."""
    spec = step.spec
    return not trains(step) and not (spec.statistics and "moments" in spec.needs)


CHECKS: dict[str, tuple[Check, ...]] = {
    "importance": (
        scores_are_sound, scores_ignore_the_order_of_samples, scores_follow_their_neurons,
        importances_shape_the_network,
    ),
    "grouping": (
        grouping_is_sound, copies_are_grouped, alike_neurons_are_told_apart, grouping_ignores_the_order_of_neurons,
        grouping_is_the_same_again, importance_matters,
    ),
    "solver": (
        solver_is_the_same_again, solver_gives_copies_back, solver_gives_one_back, every_parent_matters,
        solver_ignores_the_order_of_neurons, solver_ignores_the_order_of_samples, importance_matters,
        classes_are_learnt_from_whom_they_trust,
    ),
    "post": (
        step_is_sound, step_gives_the_parent_back, step_ignores_the_order_of_neurons,
        step_ignores_the_order_of_samples, importance_matters, classes_are_learnt_from_whom_they_trust,
    ),
}  # fmt: skip
"""By kind, what is checked of one method alone."""

# Not asked where a number is another than its default, which may ask for a blurred transport or for no change at all.
WITHOUT_NUMBERS: frozenset[Check] = frozenset({copies_are_grouped, alike_neurons_are_told_apart, every_parent_matters})
# They go through the variants by themselves, and show on any network.
ONCE: frozenset[Check] = frozenset({importance_matters, classes_are_learnt_from_whom_they_trust})
