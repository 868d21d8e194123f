"""The base model: what the parents were trained from, for recipes that merge what training has changed."""

import os
from collections.abc import Sequence

from ..architectures import LibraryConfig
from ..core.errors import ParentError
from .load import load_parent
from .parent import Parent, make_parent


def load_base(base: Parent | str | os.PathLike[str] | None, parents: Sequence[Parent]) -> Parent | None:
    """The base model, read if it is a file, once it is known to fit the parents: the same architecture, and tensors of
    the same names and shapes, all finite. None stays None.

    Raises ParentError with one line otherwise, and what `load_parent` raises.
    """
    if base is None:
        return None
    first = parents[0]
    if not isinstance(base, Parent):
        own = first.architecture.spec if isinstance(first.architecture, LibraryConfig) else first.architecture.name
        base = load_parent(base, own if ":" in own else "auto", input_shape=first.input_shape)
    title = base.name

    def misfit(what: str) -> ParentError:
        return ParentError(f"the base model {title} {what}; give the model that the parents were trained from")

    for has, lacks in ((first, base), (base, first)):
        extra = next((name for name in has.state if name not in lacks.state), None)
        if extra is not None:
            raise misfit(f"does not fit: {has.name} has a tensor {extra!r} and {lacks.name} has not")
    for parent in parents:
        for name, tensor in parent.state.items():
            shape = tuple(base.state[name].shape)
            if shape != tuple(tensor.shape):
                raise misfit(f"does not fit: {name!r} is {shape} there and {tuple(tensor.shape)} in {parent.name}")
    if base.metadata.assumed and base.architecture.name == first.architecture.name:
        # What its file does not say is taken to be as in the parents.
        base = make_parent(base.name, first.architecture, base.state, base.metadata, base.key_map)
    if base.architecture != first.architecture:
        raise misfit(f"does not fit: it is {base.architecture} and {first.name} is {first.architecture}")
    broken = next((n for n, t in base.state.items() if t.is_floating_point() and not t.isfinite().all()), None)
    if broken is not None:
        raise misfit(f"holds NaN or infinite values in {broken!r}")
    return base
