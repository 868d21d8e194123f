"""Configs of the built-in architectures in which every setting is, somewhere, not the usual one."""

from __future__ import annotations

import torch

from fusion_engine.architectures import Config, MLPConfig, ResNetConfig, VGGConfig, ViTConfig, build
from fusion_engine.parents import Metadata, Parent, make_parent

VIT = ViTConfig((1, 8, 8), 4, 16, 4, (24, 20), (16, 16), 10)
RESNET = ResNetConfig((1, 8, 8), 8, (8, 16), ((8,), (12,)), 10)

CONFIGS: dict[str, Config] = {
    "mlp": MLPConfig((64, 12, 8, 10)),
    "mlp_square": MLPConfig((64, 12, 12, 12, 10), "gelu"),
    "mlp_gelu": MLPConfig((64, 12, 8, 10), "gelu"),
    "mlp_silu": MLPConfig((64, 12, 8, 10), "silu"),
    "mlp_leaky": MLPConfig((64, 12, 8, 10), "leaky_relu", negative_slope=0.3),
    "mlp_elu": MLPConfig((64, 12, 8, 10), "elu"),
    "mlp_sigmoid": MLPConfig((64, 12, 8, 10), "sigmoid"),
    "mlp_tanh": MLPConfig((64, 12, 8, 10), "tanh", bias=False),
    "vgg": VGGConfig((1, 8, 8), (6, "M", 8), (12, 10)),
    "vgg_norm": VGGConfig((1, 8, 8), (6, "M", 8, "M"), (10,), batch_norm=True, conv_bias=False, kernel=5),
    "vgg_oblong": VGGConfig((1, 4, 16), (6, "M", 8, "M"), (10,)),
    "vgg_average": VGGConfig((1, 8, 8), (6, "M", 8, "M"), (12, 10), activation="tanh", pooling="avg"),
    "vgg_strides": VGGConfig((1, 8, 8), (6, 8, "M"), (10,), pooling="stride", halved=(True, True)),
    "vgg_unpadded": VGGConfig((1, 12, 12), (6, "M", 8), (10,), padded=False),
    "resnet": RESNET,
    "resnet_stem": ResNetConfig(
        (1, 16, 16), 8, (8, 16), ((8,), (12,)), 10, activation="silu", stem_stride=2, stem_pool="max"
    ),
    "resnet_groups": ResNetConfig((1, 8, 8), 8, (8, 16), ((8,), (16,)), 10, norm="group", groups=2, conv_bias=True),
    "resnet_bare": ResNetConfig((1, 8, 8), 8, (12, 16), ((8,), (12,)), 10, norm="none", conv_bias=True),
    "resnet_imagenet": ResNetConfig((1, 16, 16), 8, (8, 16), ((8,), (12,)), 10, "imagenet"),
    "vit": VIT,
    "vit_relu": ViTConfig((1, 8, 8), 4, 16, 4, (24,), (16,), 10, activation="relu"),
    "vit_heads": ViTConfig((1, 8, 8), 4, 16, 8, (24,), (16,), 10),
    "vit_post": ViTConfig((1, 8, 8), 4, 16, 4, (24,), (16,), 10, norm_first=False),
    "vit_pre_unnormed": ViTConfig((1, 8, 8), 4, 16, 4, (24,), (16,), 10, final_norm=False),
    "vit_qkv": ViTConfig((1, 8, 8), 4, 16, 2, (24, 20), (16, 8), 10, "qkv", qkv_bias=False, embedding="linear"),
    "vit_mean": ViTConfig((1, 8, 8), 4, 16, 2, (24,), (16,), 10, pool="mean", epsilon=1e-3),
    "vit_untokened": ViTConfig((1, 8, 8), 4, 16, 2, (24,), (16,), 10, class_token=False, pool="mean"),
    "vit_unplaced": ViTConfig((1, 8, 8), 4, 16, 2, (24,), (16,), 10, class_position=False),
}


def random_parent(name: str, config: Config, seed: int = 0, metadata: Metadata | None = None) -> Parent:
    """A network with lively weights, biases and statistics, so that a wrong setting shows in the outputs."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, tensor in build(config).state_dict().items():
        if not tensor.is_floating_point():
            state[key] = tensor
        elif key.endswith("running_var") or (key.endswith("weight") and tensor.ndim == 1):
            state[key] = 0.5 + torch.rand(tensor.shape, generator=generator)
        else:
            scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
            state[key] = 1.5 * scale * torch.randn(tensor.shape, generator=generator)
    return make_parent(name, config, state, metadata)
