"""Which tensor of a state dict plays which part in a residual network, from its names and shapes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UnsupportedModelError
from .registry import Shapes, natural

__all__ = ["BlockNames", "ResNetNames", "Unit", "read"]

_COUNTER = "num_batches_tracked"
_PARTS = {"batch": ("weight", "bias", "running_mean", "running_var", _COUNTER), "group": ("weight", "bias"), "none": ()}


@dataclass(frozen=True)
class Unit:
    """A convolution's name in the file, and its norm's."""

    conv: str
    norm: str | None


@dataclass(frozen=True)
class BlockNames:
    """Names of one basic block."""

    first: Unit
    second: Unit
    projection: Unit | None


@dataclass(frozen=True)
class ResNetNames:
    """Names of a whole residual network."""

    stem: Unit
    stages: tuple[tuple[BlockNames, ...], ...]
    head: str
    norm: Literal["batch", "group", "none"]

    def key_map(self, shapes: Shapes) -> dict[str, str]:
        """Canonical tensor name -> name in the file, of the tensors that the file has."""
        modules = {"fc": self.head} | _unit(self.stem, "conv1", "bn1")
        for s, stage in enumerate(self.stages, start=1):
            for b, block in enumerate(stage):
                start = f"layer{s}.{b}."
                modules |= _unit(block.first, f"{start}conv1", f"{start}bn1")
                modules |= _unit(block.second, f"{start}conv2", f"{start}bn2")
                if block.projection is not None:
                    modules |= _unit(block.projection, f"{start}downsample.0", f"{start}downsample.1")
        return {
            f"{canonical}.{part}": f"{own}.{part}"
            for canonical, own in modules.items()
            for part in _PARTS["batch"]
            if f"{own}.{part}" in shapes
        }


def _unit(unit: Unit, conv: str, norm: str) -> dict[str, str]:
    return {conv: unit.conv} | ({norm: unit.norm} if unit.norm is not None else {})


def read(shapes: Shapes) -> ResNetNames | None:
    """Parts of a residual network, or None if the names and shapes are not one's.

    The least nested convolution larger than 1 x 1 is the stem, or of several the one with the fewest inputs. The
    others, in the order of their names, are pairs, and what a pair's names have in common is the name of their block.
    A block whose name covers a 1 x 1 convolution begins a stage with this projection. Norms belong to convolutions
    in the order of their names.
    UnsupportedModelError: bottleneck blocks, or a change of width without a projection.
    """
    modules = {key.removesuffix(".weight"): shape for key, shape in shapes.items() if key.endswith(".weight")}
    convs = sorted((name for name, shape in modules.items() if len(shape) == 4), key=natural)
    large = [name for name in convs if modules[name][2] > 1]
    heads = [name for name, shape in modules.items() if len(shape) == 2]
    if len(large) < 3 or len(heads) != 1:
        return None
    _refuse_bottlenecks(modules)
    stem = min(large, key=lambda name: (name.count("."), modules[name][1]))
    large.remove(stem)
    pairs = list(zip(large[::2], large[1::2], strict=False))
    paths = [_common_path(*pair) for pair in pairs]
    nested = any(b.startswith(a) for a, b in itertools.pairwise(sorted(paths)))
    if len(large) % 2 or nested or stem.startswith(tuple(paths)):
        return None

    norms = sorted((name for name, shape in modules.items() if len(shape) == 1), key=natural)
    outside = [name for name in norms if not name.startswith(tuple(paths))]
    blocks = []
    for path, pair in zip(paths, pairs, strict=True):
        small = [name for name in convs if name.startswith(path) and name not in pair]
        block = _block(pair, small, [name for name in norms if name.startswith(path)])
        if block is None:
            return None
        blocks.append(block)
    if len(outside) != bool(norms):
        return None
    norm: Literal["batch", "group", "none"] = "none"
    if norms:
        norm = "batch" if f"{outside[0]}.running_mean" in shapes else "group"
    stages = tuple(_stages(blocks))
    _refuse_bare_shortcuts(stages, modules, stem)
    return ResNetNames(Unit(stem, outside[0] if outside else None), stages, heads[0], norm)


def _common_path(first: str, second: str) -> str:
    """The module that holds both, with a dot at its end; '' if there is none."""
    parts = zip(first.split("."), second.split("."), strict=False)
    return "".join(f"{a}." for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], parts))


def _block(pair: tuple[str, str], small: Sequence[str], norms: Sequence[str]) -> BlockNames | None:
    """Parts of a block; None unless it has norms after all its convolutions or after none."""
    if len(small) > 1 or len(norms) not in (0, 2 + len(small)):
        return None
    if not norms:
        return BlockNames(Unit(pair[0], None), Unit(pair[1], None), Unit(small[0], None) if small else None)
    # A projection's norm stands beside it (downsample.1, shortcut.1), or comes last in the block (bn3).
    beside = [name for name in norms if small and name.rpartition(".")[0] == small[0].rpartition(".")[0]]
    last = beside[0] if len(beside) == 1 else norms[-1]
    first, second = [name for name in norms if not small or name != last]
    projection = Unit(small[0], last) if small else None
    return BlockNames(Unit(pair[0], first), Unit(pair[1], second), projection)


def _stages(blocks: Sequence[BlockNames]) -> Iterator[tuple[BlockNames, ...]]:
    starts = [0, *(i for i, block in enumerate(blocks) if i and block.projection is not None), len(blocks)]
    for start, end in itertools.pairwise(starts):
        yield tuple(blocks[start:end])


def _refuse_bottlenecks(modules: Shapes) -> None:
    found = next((name for name, s in modules.items() if name.endswith("conv3") and s[2:] == (1, 1)), None)
    if found is not None:
        raise UnsupportedModelError(
            f"a residual network of bottleneck blocks ({found!r} is the third convolution of one), which is not built "
            "in; name the architecture with --arch package.module:callable"
        )


def _refuse_bare_shortcuts(stages: Sequence[Sequence[BlockNames]], modules: Shapes, stem: str) -> None:
    width = modules[stem][0]
    for block in itertools.chain.from_iterable(stages):
        inputs, outputs = modules[block.first.conv][1], modules[block.second.conv][0]
        if inputs == width != outputs and block.projection is None:
            raise UnsupportedModelError(
                f"{block.second.conv!r} has {outputs} channels, its block's input {inputs}, and no 1 x 1 convolution "
                "joins them, so this is no residual network that is built in; name the architecture with --arch "
                "package.module:callable"
            )
        width = outputs
