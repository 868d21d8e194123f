"""Transformers: vision transformers with attention written in several ways, and a small language model."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FusedAttention(nn.Module):
    """One projection for queries, keys and values; fused attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.proj(y.transpose(1, 2).reshape(batch, tokens, width))


class ManualAttention(nn.Module):
    """Three projections, the softmax by hand."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query, key, value = (
            layer(x).view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ value).transpose(1, 2).reshape(batch, tokens, width))


class ChunkedAttention(nn.Module):
    """One projection cut by chunk, Einstein sums."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query, key, value = (
            t.reshape(batch, tokens, self.heads, -1).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1)
        )
        scores = torch.einsum("bhid,bhjd->bhij", query, key) / math.sqrt(width // self.heads)
        y = torch.einsum("bhij,bhjd->bhid", torch.softmax(scores, dim=-1), value)
        return self.proj(y.transpose(1, 2).flatten(2))


class ModuleAttention(nn.Module):
    """torch's own module."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=0.5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=False)[0]


class Block(nn.Module):
    def __init__(self, width: int, heads: int, attention: type[nn.Module]) -> None:
        super().__init__()
        self.norm1, self.norm2, self.attention = nn.LayerNorm(width), nn.LayerNorm(width), attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    """Convolutional patches, class token, pre-norm blocks."""

    def __init__(self, attention: type[nn.Module] = FusedAttention, mean_pool: bool = False, blocks: int = 1) -> None:
        super().__init__()
        width, heads, patch, size = 12, 2, 8, 16
        self.patch = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.position = nn.Parameter(torch.randn(1, (size // patch) ** 2 + 1, width) * 0.5)
        self.blocks = nn.Sequential(*[Block(width, heads, attention) for _ in range(blocks)])
        self.norm, self.head, self.mean_pool = nn.LayerNorm(width), nn.Linear(width, 10), mean_pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.position
        x = self.norm(self.blocks(x))
        return self.head(x.mean(1) if self.mean_pool else x[:, 0])


class LengthAttention(FusedAttention):
    """The number of samples as a Python number."""

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = len(x), x.shape[1], x.shape[2]
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(query, key, value)
        return self.proj(y.transpose(1, 2).reshape(int(x.shape[0]), tokens, -1))


class LengthViT(ViT):
    """As ViT, with len(x) where x.shape[0] is meant."""

    def __init__(self) -> None:
        super().__init__(LengthAttention)

    def tokens(self, x: Tensor) -> Tensor:
        return self.token.expand(len(x), -1, -1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.tokens(x), self.patch(x).flatten(2).transpose(1, 2)], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0].reshape(len(x), -1))


class UnrolledViT(LengthViT):
    """A token is made for every sample in turn, so that the graph holds a fixed number of them."""

    def tokens(self, x: Tensor) -> Tensor:
        return torch.stack([self.token[0] for _ in x])


class EncoderViT(nn.Module):
    """Patches cut by views, torch's own encoder layers."""

    def __init__(self, norm_first: bool = False) -> None:
        super().__init__()
        width, heads, self.cut, size = 12, 2, 8, 16
        self.patch = nn.Linear(3 * self.cut**2, width)
        self.token = nn.Parameter(torch.randn(1, 1, width) * 0.5)
        self.position = nn.Parameter(torch.randn(1, (size // self.cut) ** 2 + 1, width) * 0.5)
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        cut = self.cut
        x = x.view(batch, channels, height // cut, cut, width // cut, cut)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * cut * cut)
        x = torch.cat([self.token.expand(batch, -1, -1), self.patch(x)], 1) + self.position
        return self.head(self.encoder(x)[:, 0])


class LanguageModel(nn.Module):
    """Token numbers in, embedding and output weights tied."""

    def __init__(self) -> None:
        super().__init__()
        words, width, heads, length = 30, 16, 2, 9
        self.token, self.position = nn.Embedding(words, width), nn.Embedding(length, width)
        self.block, self.norm = Block(width, heads, FusedAttention), nn.LayerNorm(width)
        self.out = nn.Linear(width, words, bias=False)
        self.out.weight = self.token.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        return self.out(self.norm(self.block(x)))
