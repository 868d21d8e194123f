"""Vision transformers under the names of timm and torchvision."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TimmAttention(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width, bias=bias), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(2, 3) / (width // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class TimmBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = TimmAttention(width, heads, bias)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(width, hidden), act=nn.GELU(), fc2=nn.Linear(hidden, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TimmViT(nn.Module):
    """`no_embed_class` as in timm: the class token has no position."""

    def __init__(
        self, token: bool = True, no_embed_class: bool = False, bias: bool = True, width: int = 64, size: int = 16
    ) -> None:
        super().__init__()
        self.no_embed_class = no_embed_class
        if token:
            self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        count = (size // 4) ** 2 + (token and not no_embed_class)
        self.pos_embed = nn.Parameter(torch.randn(1, count, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, 4, 4)})
        self.blocks = nn.Sequential(*(TimmBlock(width, width // 64 or 1, hidden, bias) for hidden in (24, 64)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        token = getattr(self, "cls_token", None)
        if token is None:
            return self.head(self.norm(self.blocks(x + self.pos_embed)).mean(1))
        tokens = token.expand(len(x), -1, -1)
        if self.no_embed_class:
            x = torch.cat([tokens, x + self.pos_embed], 1)
        else:
            x = torch.cat([tokens, x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class TorchvisionBlock(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(), nn.Linear(hidden, width), nn.Dropout()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TorchvisionViT(nn.Module):
    """Twelve blocks, so that encoder_layer_10 and encoder_layer_2 must be told apart."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        self.conv_proj = nn.Conv2d(1, width, 8, 8)
        blocks = OrderedDict((f"encoder_layer_{i}", TorchvisionBlock(width, width // 64, 20)) for i in range(12))
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(blocks), "ln": nn.LayerNorm(width, eps=1e-6)})
        self.encoder.pos_embedding = nn.Parameter(torch.randn(1, 10, width))
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(width, 6)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        return self.heads(self.encoder["ln"](self.encoder["layers"](x))[:, 0])


class TorchEncoderViT(nn.Module):
    """torch's own encoder layers, norms after the sums, linear patches."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 4 * 4, width)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, 10, width))
        layer = nn.TransformerEncoderLayer(
            width, 1, width, activation="gelu", batch_first=True, layer_norm_eps=1e-6, dropout=0.1
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(F.unfold(x, 4, stride=4).transpose(1, 2))
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.out(self.encoder(x)[:, 0])
