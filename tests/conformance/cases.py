"""The networks that methods are tried on: zoo models, traced once a process, with parents made of each.

Parents have names: 'first' is the model, 'second' a noisy relative of it, 'stranger' other random weights, and 'alike'
the model with neurons that are nearly the same in every space. 'first, shuffled' and so on is the same function with
every space's neurons in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from fusion_engine.core.types import Grouping, Space
from fusion_engine.data import Dataset, canonical_order
from fusion_engine.graph import Program, Trace, permute_state, trace, transform_state
from tests.zoo import build

from .engine import Method, Parents, Scores, Solution, ends_in_classes, fuse_states, score_state

__all__ = ["ACTIVATION", "FEW", "SAMPLES", "Case", "State", "close", "known_case", "same_groupings"]

SAMPLES = 40
# One of each kind: a chain of layers, one with batch norms, a residual network, a transformer.
FEW = ("mlp", "vgg_bn_2fc", "resnet", "vit_fused")
ACTIVATION = Method("importance", "activation")
_STRANGER = 22  # a seed by which few networks have silent neurons

State = dict[str, Tensor]
T = TypeVar("T")


class OneInput(torch.nn.Module):
    """A model of several vectors as one of a single vector: the engine's data sets hold one tensor a sample."""

    def __init__(self, model: torch.nn.Module, sizes: list[int]) -> None:
        super().__init__()
        self.model, self.sizes = model, sizes

    def forward(self, x: Tensor) -> Any:
        return self.model(*x.split(self.sizes, 1))


def _built(name: str, seed: int = 0) -> tuple[torch.nn.Module, Tensor]:
    model, inputs = build(name, seed)
    if len(inputs) > 1:
        model = OneInput(model, [x.shape[1] for x in inputs]).eval()
    return model, torch.cat(inputs, 1)


class Case:
    """A zoo model, traced, with calibration samples like its input."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model, inputs = _built(name)
        self.trace: Trace = trace(self.model, (inputs,))
        generator = torch.Generator().manual_seed(1)
        shape = (SAMPLES, *inputs.shape[1:])
        x = torch.randn(shape, generator=generator)
        if not inputs.is_floating_point():
            x = torch.randint(int(inputs.max()) + 1, shape, generator=generator)
        self.data = canonical_order(Dataset(x=x, y=torch.arange(SAMPLES) % 2, classes=2))
        self.program = Program(self.trace, None, [self.trace.output])
        self._kept: dict[Any, Any] = {}

    def _once(self, key: Any, compute: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = compute()
        result: T = self._kept[key]
        return result

    @cached_property
    def has_classes(self) -> bool:
        """Whether the network gives logits by a layer at its end."""
        return ends_in_classes(self.trace)

    @property
    def tensors(self) -> State:
        """The samples, to see that they stay as they are."""
        assert self.data.y is not None
        return {"x": self.data.x, "y": self.data.y}

    @cached_property
    def inner_kinds(self) -> list[tuple[str, ...]]:
        """Spaces inside the neurons of a block (heads, channel groups), those of one kind together."""
        return [kind for nest in self.trace.nests.values() for kind in nest.kinds]

    @cached_property
    def inner(self) -> set[str]:
        """All of them."""
        return {name for kind in self.inner_kinds for name in kind}

    # ---- parents

    def state(self, name: str) -> State:
        """The parent of this name; the same tensors each time, which nobody may change."""
        plain, _, shuffled = name.partition(", ")
        if shuffled:
            return self._once(("state", name), lambda: self._shuffled(self.state(plain)))
        makers = {"first": self._first, "second": self._second, "stranger": self._stranger, "alike": self._alike}
        return self._once(("state", name), makers[plain])

    @cached_property
    def orders(self) -> dict[str, np.ndarray]:
        """What 'shuffled' does: new neuron j of a space is old neuron orders[space][j]."""
        random = np.random.default_rng(1)
        return {space.name: random.permutation(space.size) for space in self.trace.spaces.values()}

    def _first(self) -> State:
        return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    def _second(self) -> State:
        generator = torch.Generator().manual_seed(7)
        return {
            k: v + 0.3 * v.std() * torch.randn(v.shape, generator=generator)
            if v.is_floating_point() and v.numel() > 1 and "running" not in k
            else v.clone()
            for k, v in self.state("first").items()
        }

    def _stranger(self) -> State:
        return {k: v.detach().clone() for k, v in _built(self.name, seed=_STRANGER)[0].state_dict().items()}

    def _alike(self) -> State:
        """Every odd neuron is made as the one before it is, but for a tenth of what it was; what reads them stays."""
        state = dict(self.state("first"))
        for space in self.trace.spaces.values():
            writes = replace(space, members=tuple(m for m in space.members if m.role == "out"))
            state.update(transform_state(state, writes, _nearly_twins(space), self.trace))
        return state

    def _shuffled(self, state: State) -> State:
        shuffled = dict(state)
        for space in self.trace.spaces.values():
            shuffled.update(permute_state(shuffled, space, self.orders[space.name], self.trace))
        return shuffled

    @cached_property
    def has_silent_neurons(self) -> bool:
        """Whether a neuron of one of the parents is 0 for all samples somewhere, as ReLU makes them: such neurons are
        equally good to match with any, and what is matched then hangs on their order."""
        sites = [site for space in self.trace.spaces.values() for site in space.sites]
        read = Program(self.trace, None, [site.node for site in sites])
        for name in ("first", "second", "stranger"):
            with torch.inference_mode():
                tensors = read(self.state(name), self.data.normalised())
            for site, tensor in zip(sites, tensors, strict=True):
                front = tensor.movedim(site.dims, tuple(range(len(site.dims)))).flatten(0, len(site.dims) - 1)
                rows = front[torch.as_tensor(site.index.reshape(-1))].reshape(len(site.index), -1)
                if bool((rows == 0).all(1).any()):
                    return True
        return False

    # ---- fusing

    def scores(self, name: str, importance: Method = ACTIVATION) -> Scores:
        """Importances of the parent of this name."""
        key = ("scores", name, importance)
        return self._once(key, lambda: self.scored(self.state(name), importance))

    def scored(self, state: State, importance: Method = ACTIVATION) -> Scores:
        """Importances of any state."""
        return score_state(self.trace, state, self.data, importance)

    def parents(
        self,
        *names: str,
        importance: Method = ACTIVATION,
        scores: Sequence[Scores] | None = None,
        scale: float = 1.0,
        data: Dataset | None = None,
        counted: bool = False,
    ) -> Parents:
        """Parents by name. scores: instead of those of `importance`; scale: a factor on all of them; counted: the
        classes of their training samples are known."""
        known = [self.scores(name, importance) for name in names] if scores is None else scores
        scaled = [{space: s * scale for space, s in own.items()} for own in known]
        states = [self.state(name) for name in names]
        counts = None
        if counted and "output" in scaled[0]:
            counts = np.array([[1 + (p + c) % 3 for c in range(len(own["output"]))] for p, own in enumerate(scaled)])
        data = self.data if data is None else data
        return Parents(self.trace, states, data, scaled, self.state("first"), counts)

    def fused(
        self, names: tuple[str, ...], grouping: Method, solver: Method, importance: Method = ACTIVATION
    ) -> Solution:
        """Parents fused, once for all tests: nobody may change what comes back."""
        def compute() -> Solution:
            return fuse_states(self.parents(*names, importance=importance, counted=True), grouping, solver)

        return self._once(("fused", names, grouping, solver, importance), compute)

    def outputs(self, state: State) -> Tensor:
        """(samples, outputs) of the network with these weights."""
        with torch.inference_mode():
            return torch.cat([t.flatten(1) for t in self.program(state, self.data.normalised())], 1)

    def outputs_of(self, name: str) -> Tensor:
        """Of a parent."""
        return self._once(("outputs", name), lambda: self.outputs(self.state(name)))


def _nearly_twins(space: Space) -> Tensor:
    matrix = torch.eye(space.size)
    for odd in range(1, space.size, 2):
        matrix[odd, odd], matrix[odd, odd - 1] = 0.1, 0.9
    return matrix


known_case = cache(Case)


def close(one: Tensor, other: Tensor, tolerance: float = 1e-4) -> None:
    """AssertionError unless the outputs agree."""
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def same_groupings(one: dict[str, Grouping], other: dict[str, Grouping]) -> bool:
    """Whether merge matrices are the same to the bit."""
    return all((a == b).all() for k in one for a, b in zip(one[k].merge, other[k].merge, strict=True))
