"""Which tensor of a state dict plays which part in a vision transformer, from its names and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UnsupportedModelError
from .registry import Shapes, natural

__all__ = ["BlockNames", "Layout", "ViTNames", "layout", "read"]

_ATTENTION = re.compile(r"(?P<path>(?:.*\.)?[^.]*\d\.)(?P<own>.*)(?P<part>in_proj_weight|qkv\.weight)")


@dataclass(frozen=True)
class BlockNames:
    """Names of one block: `qkv` and `qkv_bias` are tensors, the others modules."""

    qkv: str
    qkv_bias: str
    proj: str
    norm1: str
    norm2: str
    fc1: str
    fc2: str


@dataclass(frozen=True)
class ViTNames:
    """Names of a whole vision transformer: `token` and `position` are tensors, the others modules."""

    patch: str
    token: str | None
    position: str
    blocks: tuple[BlockNames, ...]
    norm: str | None
    head: str
    attention: Literal["module", "qkv"]

    def key_map(self, shapes: Shapes) -> dict[str, str]:
        """Canonical tensor name -> name in the file, of the tensors that the file has."""
        tensors = {"pos_embed": self.position} | ({"cls_token": self.token} if self.token is not None else {})
        modules = {"patch_embed.proj": self.patch, "head": self.head}
        if self.norm is not None:
            modules["norm"] = self.norm
        qkv, proj = ("in_proj_", "out_proj") if self.attention == "module" else ("qkv.", "proj")
        for b, block in enumerate(self.blocks):
            start = f"blocks.{b}."
            tensors |= {f"{start}attn.{qkv}weight": block.qkv, f"{start}attn.{qkv}bias": block.qkv_bias}
            modules |= {
                f"{start}attn.{proj}": block.proj, f"{start}norm1": block.norm1, f"{start}norm2": block.norm2,
                f"{start}mlp.fc1": block.fc1, f"{start}mlp.fc2": block.fc2,
            }
        for canonical, own in modules.items():
            tensors |= {f"{canonical}.{part}": f"{own}.{part}" for part in ("weight", "bias")}
        return {canonical: own for canonical, own in tensors.items() if own in shapes}


@dataclass(frozen=True)
class Layout:
    """What the number of positions says."""

    input_shape: tuple[int, int, int]
    patch: int
    class_position: bool


def read(shapes: Shapes) -> ViTNames | None:
    """Parts of a vision transformer, or None if the names and shapes are not one's.

    A block is the numbered module around attention weights named `in_proj_weight` or `qkv.weight`. Inside it the
    norms, and the MLP's layers, come in the order of their names; the attention's output layer lies beside its
    input layer. Outside, the class token is (1, 1, width), the positions (1, n, width), and of two matrices the one
    with `width` rows is the patches'. UnsupportedModelError: a norm after the pooling, timm's `fc_norm`.
    """
    found = [match for match in map(_ATTENTION.fullmatch, sorted(shapes, key=natural)) if match is not None]
    paths = [match["path"] for match in found]
    kinds = {match["part"] for match in found}
    if not found or len(kinds) != 1 or len(set(paths)) != len(paths):
        return None
    names = [_block(match, [key for key in shapes if key.startswith(match["path"])], shapes) for match in found]
    blocks = [block for block in names if block is not None]
    if len(blocks) != len(names):
        return None

    outside = {key: shape for key, shape in shapes.items() if not key.startswith(tuple(paths))}
    width = shapes[found[0][0]][1]
    tables = [key for key, shape in outside.items() if len(shape) == 3 and shape[0] == 1 and shape[2] == width]
    tokens, positions = _parted(tables, [outside[key][1] == 1 for key in tables])
    convs = [key.removesuffix(".weight") for key, shape in outside.items() if len(shape) == 4]
    matrices = sorted((key.removesuffix(".weight") for key, s in outside.items() if len(s) == 2), key=natural)
    if not convs and len(matrices) == 2:
        # Where both have `width` rows, the classes' matrix is the one with `width` columns.
        inputs = [name for name in matrices if outside[f"{name}.weight"][0] == width]
        if len(inputs) == 2:
            inputs = [name for name in matrices if outside[f"{name}.weight"][1] != width]
        convs, matrices = inputs, [name for name in matrices if name not in inputs]
    norms = [key.removesuffix(".weight") for key, s in outside.items() if len(s) == 1 and key.endswith(".weight")]
    if norms and norms[0].endswith("fc_norm"):
        raise UnsupportedModelError(
            f"a vision transformer whose norm {norms[0]!r} follows the pooling, which is not built in; name the "
            "architecture with --arch package.module:callable"
        )
    if len(positions) != 1 or len(tokens) > 1 or len(convs) != 1 or len(matrices) != 1 or len(norms) > 1:
        return None
    return ViTNames(
        convs[0], tokens[0] if tokens else None, positions[0], tuple(blocks), norms[0] if norms else None,
        matrices[0], "module" if kinds == {"in_proj_weight"} else "qkv",
    )


def _parted(keys: Sequence[str], chosen: Sequence[bool]) -> tuple[list[str], list[str]]:
    pairs = list(zip(keys, chosen, strict=True))
    return [key for key, yes in pairs if yes], [key for key, yes in pairs if not yes]


def _block(match: re.Match[str], keys: Sequence[str], shapes: Shapes) -> BlockNames | None:
    """Parts of the block around one attention weight."""
    qkv = match[0]
    attention = match["path"] + match["own"]
    weights = [key for key in keys if key != qkv and key.endswith("weight")]
    norms = sorted((key.removesuffix(".weight") for key in weights if len(shapes[key]) == 1), key=natural)
    matrices = sorted((key.removesuffix(".weight") for key in weights if len(shapes[key]) == 2), key=natural)
    out, mlp = _parted(matrices, [bool(match["own"]) and name.startswith(attention) for name in matrices])
    if len(out) != 1 or len(mlp) != 2 or len(norms) != 2:
        return None
    return BlockNames(qkv, qkv.removesuffix("weight") + "bias", out[0], *norms, *mlp)


def layout(names: ViTNames, shapes: Shapes, input_shape: tuple[int, ...] | None) -> Layout | None:
    """Image size and patch size that give as many positions as there are; `input_shape` first, then a square.

    A linear embedding does not tell channels from pixels: those of `input_shape`, else three channels or one.
    """
    embedding, positions = shapes[f"{names.patch}.weight"], shapes[names.position][1]
    known = input_shape if input_shape is not None and len(input_shape) == 3 else None
    if len(embedding) == 4:
        patches = [(embedding[1], embedding[2])] if embedding[2] == embedding[3] else []
    else:
        channels = [known[0]] if known is not None else []
        sides = {c: math.isqrt(embedding[1] // c) for c in [*channels, 3, 1] if c > 0}
        patches = [(c, side) for c, side in sides.items() if side and c * side * side == embedding[1]]
    # timm's `no_embed_class` leaves the class token without a position.
    options = [(True, positions - 1), (False, positions)] if names.token is not None else [(True, positions)]
    for channels_, patch in patches:
        for class_position, count in options:
            if known is not None and known[0] == channels_ and _grid(known, patch) == count:
                return Layout((known[0], known[1], known[2]), patch, class_position)
    for channels_, patch in patches:
        for class_position, count in options:
            side = math.isqrt(count)
            if side and side * side == count:
                return Layout((channels_, side * patch, side * patch), patch, class_position)
    return None


def _grid(shape: Sequence[int], patch: int) -> int:
    """Number of patches, 0 if they do not fit."""
    return 0 if shape[1] % patch or shape[2] % patch else (shape[1] // patch) * (shape[2] // patch)
