"""Which tensor of a state dict plays which part in a residual network, from its names and shapes."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UnsupportedModelError
from .registry import Shapes, natural


@dataclass(frozen=True)
class ResNetNames:
    """Names of a whole residual network. own: canonical name of a module -> its name in the file. blocks: number of
    blocks in every stage."""

    own: Mapping[str, str]
    blocks: tuple[int, ...]
    norm: Literal["batch", "group", "none"]


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
    _refuse_bare_shortcuts(blocks, modules, modules[stem][0])
    own = {"conv1": stem, "fc": heads[0]} | ({"bn1": outside[0]} if outside else {})
    counts: list[int] = []
    for block in blocks:
        if not counts or "downsample.0" in block:
            counts.append(0)
        own |= {f"layer{len(counts)}.{counts[-1]}.{part}": name for part, name in block.items()}
        counts[-1] += 1
    norm: Literal["batch", "group"] = "batch" if outside and f"{outside[0]}.running_mean" in shapes else "group"
    return ResNetNames(own, tuple(counts), norm if norms else "none")


def _common_path(first: str, second: str) -> str:
    """The module that holds both, with a dot at its end; '' if there is none."""
    parts = zip(first.split("."), second.split("."), strict=False)
    return "".join(f"{a}." for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], parts))


def _block(pair: tuple[str, str], small: Sequence[str], norms: Sequence[str]) -> dict[str, str] | None:
    """Parts of a block by their canonical names; None unless it has norms after all its convolutions or after none."""
    if len(small) > 1 or len(norms) not in (0, 2 + len(small)):
        return None
    block = {"conv1": pair[0], "conv2": pair[1]} | ({"downsample.0": small[0]} if small else {})
    if norms and small:
        # A projection's norm stands beside it (downsample.1, shortcut.1), or comes last in the block (bn3).
        beside = [name for name in norms if name.rpartition(".")[0] == small[0].rpartition(".")[0]]
        block["downsample.1"] = beside[0] if len(beside) == 1 else norms[-1]
    if norms:
        block["bn1"], block["bn2"] = [name for name in norms if name != block.get("downsample.1")]
    return block


def _refuse_bottlenecks(modules: Shapes) -> None:
    found = next((name for name, s in modules.items() if name.endswith("conv3") and s[2:] == (1, 1)), None)
    if found is not None:
        raise UnsupportedModelError(
            f"a residual network of bottleneck blocks ({found!r} is the third convolution of one), which is not built "
            "in; name the architecture with --arch package.module:callable"
        )


def _refuse_bare_shortcuts(blocks: Sequence[Mapping[str, str]], modules: Shapes, width: int) -> None:
    for block in blocks:
        inputs, outputs = modules[block["conv1"]][1], modules[block["conv2"]][0]
        if inputs == width != outputs and "downsample.0" not in block:
            raise UnsupportedModelError(
                f"{block['conv2']!r} has {outputs} channels, its block's input {inputs}, and no 1 x 1 convolution "
                "joins them, so this is no residual network that is built in; name the architecture with --arch "
                "package.module:callable"
            )
        width = outputs
