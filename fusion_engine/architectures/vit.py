"""Vision transformers (Dosovitskiy et al. 2021): patches, attention and MLP blocks, one linear head."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import vit_names
from .activations import ACTIVATIONS, Activation, other_activations
from .registry import Architecture, Match, PlainValues, Shapes, register

Attention = Literal["module", "qkv"]
_LEAST_HEAD: Final = 4  # channels


@dataclass(frozen=True)
class ViTConfig(PlainValues):
    """Sizes of a vision transformer.

    input_shape: (channels, height, width), cut into square patches with sides of `patch` pixels. width: of the
    residual stream. hidden: the MLP's hidden width in every block. inner: width of the queries, of the keys and of
    the values in every block, over all heads. attention: 'module' (nn.MultiheadAttention, whose inner width is the
    stream's) or 'qkv' (one linear layer for queries, keys and values). pool: what the head reads, the class token or
    the mean over all tokens. class_position: whether the class token has a positional embedding. epsilon: of the
    norms. A linear patch embedding reads a patch channel by channel, as a convolution does.
    """

    name: ClassVar[str] = "vit"
    newer: ClassVar[frozenset[str]] = frozenset({"activation"})
    input_shape: tuple[int, int, int]
    patch: int
    width: int
    heads: int
    hidden: tuple[int, ...]
    inner: tuple[int, ...]
    classes: int
    attention: Attention = "module"
    qkv_bias: bool = True
    embedding: Literal["conv", "linear"] = "conv"
    class_token: bool = True
    class_position: bool = True
    pool: Literal["token", "mean"] = "token"
    norm_first: bool = True
    final_norm: bool = True
    epsilon: float = 1e-6
    activation: str = "gelu"

    def __post_init__(self) -> None:
        sizes = [*self.input_shape, self.patch, self.width, self.heads, *self.hidden, *self.inner, self.classes]
        if min(sizes) < 1 or not self.hidden or len(self.hidden) != len(self.inner) or not 0 < self.epsilon < 1:
            raise ValueError(f"not a ViT: {self.as_json()}")
        if any(side % self.patch for side in self.input_shape[1:]) or any(i % self.heads for i in self.inner):
            raise ValueError(f"patches of {self.patch} and {self.heads} heads do not fit {self.as_json()}")
        if self.attention == "module" and set(self.inner) != {self.width}:
            raise ValueError(f"nn.MultiheadAttention's inner widths are the stream's {self.width}, not {self.inner}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"not a ViT: activation {self.activation!r}")
        if self.pool == "token" and not self.class_token:
            raise ValueError(f"not a ViT: pooling {self.pool!r}, class token: {self.class_token}")

    @property
    def positions(self) -> int:
        """Number of positional embeddings."""
        patches = (self.input_shape[1] // self.patch) * (self.input_shape[2] // self.patch)
        return patches + (self.class_token and self.class_position)

    def __str__(self) -> str:
        order = "pre" if self.norm_first else "post"
        unusual = ", mean pooling" if self.class_token and self.pool == "mean" else ""
        unusual += f", epsilon {self.epsilon:g}" if self.epsilon != ViTConfig.epsilon else ""
        unusual += "" if self.activation == "gelu" else f", {self.activation}"
        sizes = f"{len(self.hidden)} x {self.width}, {self.heads} heads, patches of {self.patch}"
        return f"vit {sizes}, {order}-norm{unusual}"


def usual_heads(width: int) -> int:
    """Heads of the usual size: 64, as in the published networks, or 32, 16 or 8 where that does not divide `width`."""
    return next((width // size for size in (64, 32, 16, 8) if width % size == 0), 1)


class PatchEmbedding(nn.Module):
    """Patches to tokens."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        channels, self.patch = config.input_shape[0], config.patch
        self.linear = config.embedding == "linear"
        if self.linear:
            self.proj: nn.Module = nn.Linear(channels * self.patch**2, config.width)
        else:
            self.proj = nn.Conv2d(channels, config.width, self.patch, self.patch)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> (N, patches, config.width), row after row."""
        if not self.linear:
            return cast(Tensor, self.proj(x)).flatten(2).transpose(1, 2)
        batch, channels, height, width = x.shape
        p = self.patch
        x = x.reshape(batch, channels, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        return cast(Tensor, self.proj(x.reshape(batch, (height // p) * (width // p), channels * p * p)))


class ModuleAttention(nn.MultiheadAttention):
    """torch's own module, called on one input."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, tokens, width) -> the same shape."""
        return super().forward(x, x, x, need_weights=False)[0]


class QKVAttention(nn.Module):
    """One linear layer makes queries, keys and values, each head after head."""

    def __init__(self, width: int, inner: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads, self.size = heads, inner // heads
        self.qkv = nn.Linear(width, 3 * inner, bias=bias)
        self.proj = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> the same shape."""
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        y = functional.scaled_dot_product_attention(query, key, value)
        return cast(Tensor, self.proj(y.transpose(1, 2).reshape(batch, tokens, self.heads * self.size)))


class Feedforward(nn.Module):
    """Linear, activation, linear."""

    def __init__(self, width: int, hidden: int, activation: str) -> None:
        super().__init__()
        self.activation = Activation(activation)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        return cast(Tensor, self.fc2(self.activation(self.fc1(x))))


class Block(nn.Module):
    """Attention, then an MLP, each added to its input; norms before them, or after the sums."""

    def __init__(self, config: ViTConfig, inner: int, hidden: int) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.norm1 = nn.LayerNorm(config.width, config.epsilon)
        if config.attention == "module":
            self.attn: nn.Module = ModuleAttention(config.width, config.heads, bias=config.qkv_bias, batch_first=True)
        else:
            self.attn = QKVAttention(config.width, inner, config.heads, config.qkv_bias)
        self.norm2 = nn.LayerNorm(config.width, config.epsilon)
        self.mlp = Feedforward(config.width, hidden, config.activation)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> the same shape."""
        if self.norm_first:
            x = x + self.attn(self.norm1(x))
            return x + cast(Tensor, self.mlp(self.norm2(x)))
        x = self.norm1(x + self.attn(x))
        return cast(Tensor, self.norm2(x + self.mlp(x)))


class ViT(nn.Module):
    """timm's names: patch_embed.proj, cls_token, pos_embed, blocks.0.norm1, blocks.0.attn.qkv, ..., norm, head."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbedding(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width)) if config.class_token else None
        self.pos_embed = nn.Parameter(torch.zeros(1, config.positions, config.width))
        self.blocks = nn.Sequential(*(Block(config, i, h) for i, h in zip(config.inner, config.hidden, strict=True)))
        self.norm = nn.LayerNorm(config.width, config.epsilon) if config.final_norm else nn.Identity()
        self.head = nn.Linear(config.width, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, height, width) -> logits (N, classes)."""
        x = self.patch_embed(x)
        if not self.config.class_position:
            x = x + self.pos_embed
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.size(0), -1, -1), x], 1)
        if self.config.class_position:
            x = x + self.pos_embed
        x = self.norm(self.blocks(x))
        return cast(Tensor, self.head(x[:, 0] if self.config.pool == "token" else x.mean(1)))


def recognise(shapes: Shapes, input_shape: tuple[int, ...] | None = None) -> Match | None:
    """A patch embedding, positions, blocks of attention and MLP, and a head; see `vit_names`.

    What the weights do not tell is assumed: heads of 64 channels (or 32, 16, 8 where the width asks for it), which
    a note says; norms before attention and MLP if there is a final norm and after them otherwise; GELU; the head
    reads the class token if there is one. Is that so? Another number of heads, order of norms or activation is
    another function of the same weights, and no check of shapes can notice: where a file does not say it, only the
    accuracy tells. `input_shape` settles images that are not square and the channels of linear embeddings.
    """
    found = vit_names.read(shapes)
    if found is None:
        return None
    layout = vit_names.layout(found.own, shapes, input_shape)
    if layout is None:
        return None
    size, patch, class_position = layout
    weights = {canonical: shapes.get(f"{own}.weight", ()) for canonical, own in found.own.items()}
    inner = tuple(shapes[name][0] // 3 for name in found.qkv)
    heads = usual_heads(math.gcd(*inner))
    token, norm = "cls_token" in found.own, "norm" in found.own
    config = ViTConfig(
        size, patch, shapes[found.own["pos_embed"]][2], heads,
        tuple(weights[f"blocks.{b}.mlp.fc1"][0] for b in range(len(inner))), inner, weights["head"][0],
        found.attention, f"{found.qkv[0].removesuffix('weight')}bias" in shapes,
        "conv" if len(weights["patch_embed.proj"]) == 4 else "linear", token, class_position,
        "token" if token else "mean", norm, norm,
    )
    heads_text = "1 head is" if heads == 1 else f"{heads} heads are"
    order, other = ("pre", "post") if config.norm_first else ("post", "pre")
    assumed = {
        "heads": f"the weights do not tell the number of attention heads; {heads_text} assumed: give --arch "
        "vit:heads=N for another",
        "norm_first": f"{order}-norm assumed; the file does not say: give --arch vit:norm={other} if not",
    }
    if token:
        assumed["pool"] = (
            "a head that reads the class token assumed; the file does not say: give --arch vit:pool=mean if not"
        )
    return Match.checked(config, found.own, shapes, assumed)


def _undecided(config: ViTConfig) -> Sequence[Iterable[Mapping[str, Any]]]:
    inner = math.gcd(*config.inner)
    heads = [{"heads": heads} for heads in range(1, inner // _LEAST_HEAD + 1) if inner % heads == 0]
    pools: list[Mapping[str, Any]] = [{"pool": "token"}, {"pool": "mean"}] if config.class_token else []
    orders = [{"norm_first": first} for first in (True, False)]
    return [heads or [{"heads": config.heads}], orders, other_activations(), pools]


register(Architecture(
    "vit", ViT, recognise, ViTConfig.read, "gelu", otherwise="vit:activation=relu",
    named={"heads": "num_heads", "norm_first": "norm_first", "epsilon": "eps"}, undecided=_undecided,
))
