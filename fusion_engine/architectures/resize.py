"""The same network at other widths: its config, read from the shapes of its weights."""

from contextlib import suppress
from dataclasses import fields, replace
from typing import Any

from ..core.errors import UnsupportedModelError
from .registry import Config, Shapes, get, names, network_shapes


def resized(config: Config, shapes: Shapes) -> Config:
    """The config of a network like `config` whose tensors have these shapes, by canonical name.

    What shapes cannot tell (heads, kinds of norm, pooling) stays as in `config`. Raises UnsupportedModelError if the
    architecture has no such network: only built-in ones can change their widths, and not in every layer.
    """
    architecture = get(config.name) if config.name in names() else None
    if architecture is None or architecture.recognise is None:
        raise UnsupportedModelError(
            f"{config}: only built-in architectures can change their widths; use width 1 and parents of equal widths"
        )
    try:
        match = architecture.recognise(shapes, config.input_shape)
    except (ValueError, UnsupportedModelError):  # no such network
        match = None
    found: Any = None if match is None else match.config
    ends = (config.input_shape, config.classes)
    if found is None or (found.input_shape, found.classes) != ends or not fits(found, shapes):
        first = next((name for name, shape in network_shapes(config).items() if shape != shapes.get(name)), "none")
        raise UnsupportedModelError(
            f"a {config.name} cannot have these widths (first tensor that differs: {first}); "
            "use width 1 and parents of equal widths"
        )
    for field in fields(found):
        kept = getattr(config, field.name)
        if getattr(found, field.name) != kept:
            with suppress(ValueError):  # no such network
                candidate = replace(found, **{field.name: kept})
                found = candidate if fits(candidate, shapes) else found
    result: Config = found
    return result


def fits(config: Config, shapes: Shapes) -> bool:
    """Whether there is such a network, and it has these shapes; files may lack counters."""
    own = network_shapes(config)
    return shapes.keys() <= own.keys() and all(own[name] == shape for name, shape in shapes.items())
