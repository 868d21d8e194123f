"""Verify spaces numerically: permuted weights must compute the same function."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_engine.core.errors import BlamedSpaceError, UnsupportedModelError, VerificationError
from fusion_engine.core.seeds import numpy_generator, torch_generator
from fusion_engine.core.types import Space, State

from ..captured.capture import eval_mode
from ..states.transforms import permute_state
from ..structure.trace import Trace, left_in_place, lookup
from .program import Program

_ROUNDS = 3  # of looking for spaces to blame: without one, others may be blamed


@dataclass(frozen=True)
class VerifyReport:
    """Outcome of a verification that passed.

    difference: largest absolute change of an output, relative to the largest output if that is above one, when all
    spaces are permuted at once. sensitivity: the same when the inputs change instead; if it is not well above the
    tolerance, the check says little, and `warnings` says so. spaces: names of the spaces that were permuted.
    """

    difference: float
    sensitivity: float
    spaces: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def verify(
    trace: Trace,
    model_or_state: nn.Module | State,
    example_inputs: Sequence[Any],
    seed: int = 0,
    tolerance: float = 1e-8,
) -> VerifyReport:
    """Check in float64, on two samples, that a random permutation of every space leaves the outputs unchanged.

    Raises VerificationError naming the space and its modules otherwise, or if the outputs are not finite. Given a
    module, its own forward is compared with the traced graph as well.
    """
    state: State = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    check = _Check(trace, example_inputs, seed, tolerance)
    if isinstance(model_or_state, nn.Module):
        check.same_as_module(model_or_state)
    return check.run(state)


def verify_all(
    trace: Trace, states: Sequence[State], example_inputs: Sequence[Any], seed: int = 0, tolerance: float = 1e-8
) -> list[VerifyReport]:
    """`verify` for several parents of one architecture and width, sharing the compiled program."""
    check = _Check(trace, example_inputs, seed, tolerance)
    return [check.run(state) for state in states]


def without_blamed(
    trace: Trace, states: Sequence[State], example_inputs: Sequence[Any], seed: int = 0, tolerance: float = 1e-8
) -> Trace:
    """The trace without the spaces that the check blames in one of the states, for networks of which `verify` says so.

    What is left verifies. Raises VerificationError if even that cannot be had, or the outputs are not finite.
    """
    for _ in range(_ROUNDS):
        blamed: set[str] = set()
        for state in states:
            blamed |= set(_Check(trace.fitting(state), example_inputs, seed, tolerance).blamed(state))
        if not blamed:
            break
        trace = left_in_place(trace, blamed)
    for state in states:
        verify(trace.fitting(state), state, example_inputs, seed, tolerance)
    return trace


def random_permutation(size: int, generator: np.random.Generator) -> np.ndarray:
    """A random permutation that moves every entry: a random cycle."""
    order = generator.permutation(size)
    result = np.empty(size, dtype=np.int64)
    result[order] = np.roll(order, 1)
    return result


def _double(tensor: Any) -> Any:
    if isinstance(tensor, Tensor) and tensor.is_floating_point():
        return tensor.detach().double()
    return tensor.detach() if isinstance(tensor, Tensor) else tensor


class _Check:
    def __init__(self, trace: Trace, example_inputs: Sequence[Any], seed: int, tolerance: float) -> None:
        self.trace, self.seed, self.tolerance = trace, seed, tolerance
        self.program = Program(trace, None, [trace.output])
        tensors = [t for t in torch.utils._pytree.tree_leaves(tuple(example_inputs)) if isinstance(t, Tensor)]
        self.inputs = [_double(t[:2] if trace.capture.dynamic else t) for t in tensors]

    def run(self, state: State) -> VerifyReport:
        for name, value in self.trace.indices.items():
            if not torch.equal(lookup(state, name, self.trace).cpu(), value.cpu()):
                raise VerificationError(
                    f"the indices in {name!r} are others than in the network that was traced, so its neurons do not "
                    "mean the same; fuse networks with the same indices"
                )
        state = {name: _double(tensor) for name, tensor in state.items()}
        with torch.no_grad():
            reference = self.program(state, *self.inputs)
            if not all(bool(torch.isfinite(t).all()) for t in reference):
                raise VerificationError("the model's outputs are not finite; check its weights and the example input")
            changed = self.program(state, *self._other_inputs())
            sensitivity = _difference(reference, changed)
            permuted: State = state
            for space in self.trace.spaces.values():
                permuted = self._permuted(permuted, space)
            difference = _difference(reference, self.program(permuted, *self.inputs))
            if not difference <= self.tolerance:
                self._blame(state, reference, difference)
        warnings = []
        if not sensitivity > 1e3 * self.tolerance:
            warnings.append(
                f"the outputs hardly react to the inputs (change {sensitivity:.1e}), so the check of the spaces says "
                "little; use trained weights or other example inputs"
            )
        return VerifyReport(difference, sensitivity, tuple(self.trace.spaces), tuple(warnings))

    def blamed(self, state: State) -> list[str]:
        """Spaces whose permutation changes the outputs, one after another on top of those that do not."""
        state = {name: _double(tensor) for name, tensor in state.items()}
        found = []
        with torch.no_grad():
            reference = self.program(state, *self.inputs)
            for space in self.trace.spaces.values():
                permuted = self._permuted(state, space)
                if _difference(reference, self.program(permuted, *self.inputs)) <= self.tolerance:
                    state = permuted
                else:
                    found.append(space.name)
        return found

    def _permuted(self, state: State, space: Space) -> State:
        order = random_permutation(space.size, numpy_generator(self.seed, "verify", space.name))
        return {**state, **permute_state(state, space, order, self.trace)}

    def _other_inputs(self) -> list[Tensor]:
        generator = torch_generator(self.seed, "verify inputs")
        return [
            t + torch.randn(t.shape, generator=generator, dtype=t.dtype).to(t.device)
            if t.is_floating_point()
            else t.flip(-1)
            if t.dim()
            else t
            for t in self.inputs
        ]

    def _blame(self, state: State, reference: Sequence[Tensor], together: float) -> None:
        for space in self.trace.spaces.values():
            difference = _difference(reference, self.program(self._permuted(state, space), *self.inputs))
            if not difference <= self.tolerance:
                modules = [s.module for s in space.sites if s.module]
                where = ", ".join(dict.fromkeys(modules)) or "the model itself"
                tensors = ", ".join(dict.fromkeys(m.tensor for m in space.members))
                raise BlamedSpaceError(
                    f"permuting space {space.name!r} (tensors {tensors}) changes the outputs by {difference:.1e}; an "
                    f"operator in {where} has a wrong label rule, or the weights do not belong to the traced model"
                )
        raise BlamedSpaceError(f"permuting all spaces at once changes the outputs by {together:.1e}")

    def same_as_module(self, model: nn.Module) -> None:
        """The traced graph computes what the module computes in eval mode."""
        with torch.no_grad(), eval_mode(model):
            tensors = [t.float() if t.dtype == torch.float64 else t for t in self.inputs]
            expected = [t for t in torch.utils._pytree.tree_leaves(model(*tensors)) if isinstance(t, Tensor)]
            traced = self.program(model.state_dict(), *tensors)
        difference = _difference(expected, traced)
        if not difference <= 1e-4:
            raise UnsupportedModelError(
                f"the traced graph differs from the model's forward by {difference:.1e}; its behaviour depends on "
                "something other than its inputs and weights"
            )


def _difference(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    scale = max([1.0, *(float(t.abs().max()) for t in first if t.numel())])
    pairs = zip(first, second, strict=True)
    return max((float((a - b).abs().max()) for a, b in pairs if a.numel()), default=0.0) / scale
