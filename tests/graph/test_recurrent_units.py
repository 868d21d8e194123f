"""Hidden units of recurrent layers: a unit's gates, its state and what reads it are one neuron."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusion_engine import fuse
from fusion_engine.architectures import CustomConfig
from fusion_engine.data import Dataset
from fusion_engine.graph import Program, permute_state, random_permutation, trace, verify
from fusion_engine.parents import make_parent

IDS = torch.randint(9, (24, 6), generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """Tokens through a recurrent network; `reads`: all its outputs, or its last states."""

    def __init__(self, kind: str, layers: int, both: bool, reads: str = "outputs", dropout: float = 0.0) -> None:
        super().__init__()
        self.embed, self.reads = nn.Embedding(9, 3), reads
        self.rnn = getattr(nn, kind)(3, 5, layers, batch_first=True, bidirectional=both, dropout=dropout)
        self.head = nn.Linear(5 if reads == "state" else 10 if both else 5, 4)

    def forward(self, ids: Tensor) -> Tensor:
        y, states = self.rnn(self.embed(ids))
        if self.reads == "state":
            return self.head((states[0] if isinstance(states, tuple) else states)[-1])
        return self.head(y.mean(1))


class Primed(nn.Module):
    """A decoder that starts from a state made of the input; projected: a linear layer makes it, else no weight does."""

    def __init__(self, projected: bool) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 4)
        self.start = nn.Linear(3, 5) if projected else None

    def forward(self, x: Tensor) -> Tensor:
        first = x[:, 0] if self.start is None else x.mean(1)
        state = torch.cat([first, first[:, :2]], 1) if self.start is None else self.start(first)
        return self.head(self.rnn(x, state[None])[0][:, -1])


@pytest.mark.parametrize("reads", ["outputs", "state"])
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, True)])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_units_are_spaces_that_verify(kind: str, layers: int, both: bool, reads: str) -> None:
    torch.manual_seed(0)
    model = Reader(kind, layers, both, reads)
    found = trace(model, (IDS[:2],))
    report = verify(found, model, (IDS[:2],))
    units = [space for space in found.spaces.values() if any("weight_hh" in m.tensor for m in space.members)]
    assert [space.size for space in units] == [5] * (layers * (2 if both else 1))
    assert all(space.features and space.freedom == "perm" for space in units)
    assert report.difference < 1e-12
    assert report.sensitivity > 1e-3
    assert sum("grouped with their gates" in line for line in found.warnings) == 1


def test_layers_apart_are_the_whole_network_and_keep_its_dropout() -> None:
    torch.manual_seed(0)
    model = Reader("LSTM", 3, True, dropout=0.5).eval()
    found = trace(model, (IDS[:2],))
    (outputs,) = Program(found, None, [found.output])(model.state_dict(), IDS)
    torch.testing.assert_close(outputs, model(IDS))
    train = Program(found, None, [found.output], train=True)
    first, second = (train(model.state_dict(), IDS)[0] for _ in range(2))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize("projected", [True, False])
def test_a_given_state_is_of_the_same_units_or_pins_them(projected: bool) -> None:
    torch.manual_seed(0)
    model, x = Primed(projected), torch.randn(2, 4, 3)
    found = trace(model, (x,))
    assert verify(found, model, (x,)).difference < 1e-12
    members = {m.tensor for space in found.spaces.values() for m in space.members}
    assert ("start.weight" in members) == projected
    assert ("rnn.weight_hh_l0" in members) == projected


@pytest.mark.parametrize("recipe", ["git_rebasin_weights", "kf_linear"])
@pytest.mark.parametrize(("kind", "both"), [("LSTM", True), ("GRU", False)])
def test_a_permuted_twin_comes_back(
    kind: str, both: bool, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = partial(Reader, kind, 2, both)
    monkeypatch.setattr("fusion_engine.architectures.custom.build_custom", lambda spec: make().eval())
    torch.manual_seed(1)
    config = CustomConfig("tests:reader", (6,), 4, ("input_ids",))
    first = make_parent("first", config, {name: 2 * tensor for name, tensor in make().state_dict().items()})
    found, state = trace(first.model, (IDS[:2],)), dict(first.state)
    for space in found.spaces.values():
        state.update(permute_state(state, space, random_permutation(space.size, np.random.default_rng(1)), found))
    twin, data = make_parent("twin", config, state), Dataset(IDS, torch.arange(24) % 4, classes=4)
    result = fuse([first, twin], data, recipe, test=data)
    with torch.no_grad():
        torch.testing.assert_close(result.model(IDS), first.model(IDS), rtol=1e-4, atol=1e-4)
    assert result.report["average"]["loss"] != pytest.approx(result.report["fused"]["loss"], abs=1e-3)
