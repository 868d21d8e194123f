"""The conformance zoo: name -> small model with example inputs. Tests discover the models here.

model, inputs = build("vgg11", seed=0)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .zoo_models import chains, convolutional, transformers

Builder = tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]
BATCH = 4


def _image(size: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: (torch.randn(BATCH, 3, size, size),)


def _vectors(*sizes: int) -> Callable[[], tuple[Tensor, ...]]:
    return lambda: tuple(torch.randn(BATCH, size) for size in sizes)


ZOO: dict[str, Builder] = {
    "mlp": (chains.MLP, _vectors(20)),
    "vgg11": (chains.VGG, _image(32)),
    "vgg_bn_2fc": (lambda: chains.VGG(batch_norm=True, hidden=True), _image(32)),
    "conv1d_gn": (chains.Conv1d, lambda: (torch.randn(BATCH, 4, 32),)),
    "activations": (chains.Activations, _image(8)),
    "tied": (chains.Tied, _vectors(10)),
    "lstm": (chains.LSTMNet, lambda: (torch.randn(BATCH, 7, 4),)),
    "two_inputs": (chains.TwoInputs, _vectors(6, 4)),
    "resnet": (convolutional.ResNet, _image(16)),
    "densenet": (convolutional.DenseNet, _image(16)),
    "mobilenet": (convolutional.MobileNet, _image(16)),
    "mobilenet_se": (lambda: convolutional.MobileNet(squeeze=True), _image(16)),
    "shufflenet": (convolutional.ShuffleNet, _image(8)),
    "grouped_residual": (convolutional.GroupedResidual, _image(8)),
    "unet": (convolutional.UNet, _image(16)),
    "upscale": (convolutional.Upscale, _image(8)),
    "roll": (convolutional.Roll, _image(12)),
    "vit_fused": (lambda: transformers.ViT(blocks=2), _image(16)),
    "vit_manual": (lambda: transformers.ViT(transformers.ManualAttention, mean_pool=True), _image(16)),
    "vit_chunked": (lambda: transformers.ViT(transformers.ChunkedAttention), _image(16)),
    "vit_module": (lambda: transformers.ViT(transformers.ModuleAttention), _image(16)),
    "vit_unrolled": (transformers.UnrolledViT, _image(16)),
    "vit_encoder_post": (transformers.EncoderViT, _image(16)),
    "vit_encoder_pre": (lambda: transformers.EncoderViT(norm_first=True), _image(16)),
    "language_model": (transformers.LanguageModel, lambda: (torch.randint(0, 30, (BATCH, 9)),)),
}


def zoo_names() -> list[str]:
    """Names of all models."""
    return list(ZOO)


def build(name: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Model `name` in eval mode with random weights, and example inputs. Global random state is left alone."""
    make_model, make_inputs = ZOO[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make_model()
        _randomise(model)
        return model.eval(), make_inputs()


def _randomise(model: nn.Module) -> None:
    """Norm parameters, statistics and biases away from 0 and 1, and livelier weights, so that mistakes show."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_mean"):
                tensor.normal_(0, 0.3)
            elif name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith("bias"):
                tensor.normal_(0, 0.3)
            elif name.endswith("weight") and tensor.dim() > 2:
                tensor.mul_(1.5)
