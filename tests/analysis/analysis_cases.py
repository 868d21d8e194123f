"""What the tests of the analyses share: small networks, permuted copies, data labelled by a network itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fusion_engine.core.types import Grouping
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, Trace, permute_state, random_permutation, trace
from tests.zoo import build

State = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """Two different networks of one trace, and data that the first labels."""

    trace: Trace
    first: State
    second: State
    data: Dataset

    def logits(self, state: State) -> Tensor:
        with torch.inference_mode():
            return Program(self.trace, None, [self.trace.output])(state, self.data.normalised())[0]

    def right(self, state: State) -> float:
        return float((self.logits(state).argmax(1) == self.data.y).float().mean())

    def loss(self, state: State) -> float:
        return float(torch.nn.functional.cross_entropy(self.logits(state).double(), self.data.y))


def case(name: str, samples: int = 48) -> Case:
    """A zoo model twice, with different random weights."""
    (model, inputs), (other, _) = (build(name, seed=seed) for seed in (0, 1))
    return _case(model, other, inputs[0].shape[1:], samples)


def small_batch_normed() -> Case:
    """A network of one convolution, a batch norm and a linear layer, twice."""

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
        model[1].running_var.uniform_(0.5, 1.5)
        return model.eval()

    with torch.random.fork_rng(devices=[]):
        return _case(make(0), make(1), (1, 6, 6), 48)


def _case(model: nn.Module, other: nn.Module, shape: Sequence[int], samples: int) -> Case:
    x = torch.randn(samples, *shape, generator=torch.Generator().manual_seed(1))
    traced = trace(model, (x[:4],))
    states = [{k: v.detach().clone() for k, v in m.state_dict().items()} for m in (model, other)]
    with torch.no_grad():
        logits = Program(traced, None, [traced.output])(states[0], x)[0]
    return Case(traced, *states, Dataset(x, logits.argmax(1), classes=logits.shape[1]))


def shuffled(trace: Trace, state: State, seed: int = 0) -> tuple[State, dict[str, np.ndarray]]:
    """A copy of `state` with the neurons of every space in random order, and the orders: new j is old order[j]."""
    random = np.random.default_rng(seed)
    orders = {name: random_permutation(space.size, random) for name, space in trace.spaces.items()}
    copy = dict(state)
    for name, space in reversed(trace.spaces.items()):  # what is inside a block before the block
        copy |= permute_state(copy, space, orders[name], trace)
    return copy, orders


def undoing(trace: Trace, orders: dict[str, np.ndarray]) -> dict[str, Grouping]:
    """Groupings of a network and its shuffled copy in which every neuron meets itself."""
    found = {}
    for name, order in orders.items():
        eye, back = np.eye(len(order)), np.zeros((len(order),) * 2)
        back[order, np.arange(len(order))] = 1
        found[name] = Grouping(name, "test", (eye / 2, back / 2), (eye, back.T))
    return found
