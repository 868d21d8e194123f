"""Which tensor of a state dict plays which part in a vision transformer, from its names and shapes."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..core.errors import UnsupportedModelError
from .registry import Shapes, natural

_ATTENTION = re.compile(r"(?P<path>(?:.*\.)?[^.]*\d\.)(?P<own>.*)(?P<part>in_proj_weight|qkv\.weight)")


@dataclass(frozen=True)
class ViTNames:
    """Names of a whole vision transformer. own: canonical name -> name in the file, of modules and of the tensors that
    belong to none of them. qkv: the attention weights of every block in the file."""

    own: Mapping[str, str]
    qkv: tuple[str, ...]
    attention: Literal["module", "qkv"]


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
    if not found or len(kinds) != 1 or len(set(paths)) != len(paths) or any(len(shapes[m[0]]) != 2 for m in found):
        return None
    blocks = [_block(match, [key for key in shapes if key.startswith(match["path"])], shapes) for match in found]
    own = {f"blocks.{b}.{part}": name for b, block in enumerate(blocks) for part, name in block.items()}
    if not all(blocks):
        return None

    outside = {key: shape for key, shape in shapes.items() if not key.startswith(tuple(paths))}
    if any(len(shape) in (2, 4) and not key.endswith(".weight") for key, shape in outside.items()):
        return None
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
    own |= {"patch_embed.proj": convs[0], "pos_embed": positions[0], "head": matrices[0]}
    own |= ({"cls_token": tokens[0]} if tokens else {}) | ({"norm": norms[0]} if norms else {})
    return ViTNames(own, tuple(match[0] for match in found), "module" if kinds == {"in_proj_weight"} else "qkv")


def _parted(keys: Sequence[str], chosen: Sequence[bool]) -> tuple[list[str], list[str]]:
    pairs = list(zip(keys, chosen, strict=True))
    return [key for key, yes in pairs if yes], [key for key, yes in pairs if not yes]


def _block(match: re.Match[str], keys: Sequence[str], shapes: Shapes) -> dict[str, str]:
    """Parts of the block around one attention weight by their canonical names; empty if it is not one."""
    qkv = match[0]
    weights = [key for key in keys if key != qkv and key.endswith("weight")]
    norms = sorted((key.removesuffix(".weight") for key in weights if len(shapes[key]) == 1), key=natural)
    matrices = sorted((key.removesuffix(".weight") for key in weights if len(shapes[key]) == 2), key=natural)
    beside = match["path"] + match["own"]
    out, mlp = _parted(matrices, [bool(match["own"]) and name.startswith(beside) for name in matrices])
    if len(out) != 1 or len(mlp) != 2 or len(norms) != 2:
        return {}
    layer, proj = ("in_proj_", "out_proj") if match["part"] == "in_proj_weight" else ("qkv.", "proj")
    return {
        f"attn.{layer}weight": qkv, f"attn.{layer}bias": f"{qkv.removesuffix('weight')}bias", f"attn.{proj}": out[0],
        "norm1": norms[0], "norm2": norms[1], "mlp.fc1": mlp[0], "mlp.fc2": mlp[1],
    }


def layout(
    own: Mapping[str, str], shapes: Shapes, input_shape: tuple[int, ...] | None
) -> tuple[tuple[int, int, int], int, bool] | None:
    """Input shape, patch size, and whether the class token has a position, that give as many positions as there are;
    `input_shape` first, then a square.

    A linear embedding does not tell channels from pixels: those of `input_shape`, else three channels or one.
    """
    embedding, positions = shapes[f"{own['patch_embed.proj']}.weight"], shapes[own["pos_embed"]][1]
    known = input_shape if input_shape is not None and len(input_shape) == 3 else None
    if len(embedding) == 4:
        patches = [(embedding[1], embedding[2])] if embedding[2] == embedding[3] else []
    else:
        channels = [known[0]] if known is not None else []
        sides = {c: math.isqrt(embedding[1] // c) for c in [*channels, 3, 1] if c > 0}
        patches = [(c, side) for c, side in sides.items() if side and c * side * side == embedding[1]]
    # timm's `no_embed_class` leaves the class token without a position.
    options = [(True, positions - 1), (False, positions)] if "cls_token" in own else [(True, positions)]
    choices = list(itertools.product(patches, options))
    for (channels_, patch), (class_position, count) in choices:
        if known is not None and known[0] == channels_ and _grid(known, patch) == count:
            return (known[0], known[1], known[2]), patch, class_position
    for (channels_, patch), (class_position, count) in choices:
        side = math.isqrt(count)
        if side and side * side == count:
            return (channels_, side * patch, side * patch), patch, class_position
    return None


def _grid(shape: Sequence[int], patch: int) -> int:
    """Number of patches, 0 if they do not fit."""
    return 0 if shape[1] % patch or shape[2] % patch else (shape[1] // patch) * (shape[2] // patch)
