"""Recurrent networks: a hidden unit is its state with the rows of all its gates, and the column that reads it."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..labels.algebra import Labels
from ..labels.atoms import Array
from .registry import Call, label_rule

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@label_rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def recurrent(call: Call) -> Labels | list[Labels | None]:
    """Weights are those of `torch.nn.LSTM` and the like: gate after gate, each with a row a unit.

    Units may only be permuted, as gates act on every one alone. Networks with projections (proj_size) and packed
    sequences have all labels pinned: they run, but their units cannot be grouped.
    """
    weights = _weights(call)
    if weights is None:
        for labels in call.tensors():
            call.algebra.freeze(labels, call.tag)
        return call.results([])
    directions = 2 if call.arguments["bidirectional"] else 1
    x, states = call.require("input"), list[Array]()
    for first in range(0, len(weights), directions):
        units = [
            _units(call, x, own, f"{call.tag}.{first + d}") for d, own in enumerate(weights[first : first + directions])
        ]
        states += units
        lead = x.shape[:-1]
        joined = np.concatenate(units)
        x = Labels((*lead, len(joined)), [joined.reshape((1,) * len(lead) + joined.shape)])
    result = call.results([])
    stacked = np.stack(states)
    assert isinstance(result, list)  # outputs and states
    assert result[0] is not None
    made: list[Labels | None] = [Labels(result[0].shape, x.layers)]
    for state, given in zip(result[1:], _given(call), strict=True):
        assert state is not None
        layer = stacked.reshape(len(stacked), *[1] * (len(state.shape) - 2), stacked.shape[1])
        found = Labels(state.shape, [layer])
        # A state that is given is of the same units.
        made.append(found if given is None else call.algebra.elementwise([found, given], state.shape, "mul", call.tag))
    return made


def _weights(call: Call) -> list[list[Labels]] | None:
    """By layer and direction w_ih (gates * units, inputs), w_hh (gates * units, units) and the biases, if any. None
    where there is something else."""
    if "params" not in call.arguments or "data" in call.arguments:
        return None
    given, count = call.list_of_labels("params"), 4 if call.arguments["has_biases"] else 2
    parts = [given[i : i + count] for i in range(0, len(given), count)]
    gates = _GATES[call.operator]
    plain = all(len(p) == count and p[1].shape[0] == gates * p[1].shape[1] == p[0].shape[0] for p in parts)
    return parts if plain else None


def _units(call: Call, x: Labels, weights: Sequence[Labels], tag: str) -> Array:
    """The atoms (units,) of a layer in one direction, one for each unit's gates, state and readers."""
    algebra, gates = call.algebra, _GATES[call.operator]
    into, across, *biases = weights
    size = across.shape[1]
    units = algebra.atoms.fresh((size,))
    algebra.atoms.restrict(units)
    batch = [f"batch{i}" for i in range(len(x.shape) - 1)]
    state = Labels((*x.shape[:-1], size), [units.reshape((1,) * (len(x.shape) - 1) + units.shape)])
    sums = [
        algebra.contract([(x, [*batch, "in"]), (into, ["out", "in"])], [*batch, "out"], tag),
        algebra.contract([(state, [*batch, "in"]), (across, ["out", "in"])], [*batch, "out"], tag),
    ]
    total = algebra.elementwise(sums, sums[0].shape, "add", tag)
    for bias in biases:
        total = algebra.affine(total, None, bias, tag)
    for layer in total.layers:
        rows = layer.reshape(gates, size)
        algebra.atoms.union(np.broadcast_to(units, rows.shape), rows)
    return units


def _given(call: Call) -> Iterator[Labels | None]:
    """Labels of the initial states; None of those that are alike for all units (zeros)."""
    given: Any = call.arguments.get("hx")
    many = call.list_of_labels("hx") if isinstance(given, list | tuple) else [call.labels("hx")]
    for labels in many:
        yield None if labels is None or not (labels.layers or labels.varies[-1] > 1) else labels
