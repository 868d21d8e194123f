"""Every built-in architecture can be traced at any batch size, and its spaces hold numerically."""

from __future__ import annotations

import pytest
import torch
from resnets_of_others import randomised

from fusion_engine.architectures import Config, ResNetConfig, ViTConfig, build, example_input
from fusion_engine.graph import Program, trace, verify_all

SMALL = (3, 16, 16)
CONFIGS: dict[str, Config] = {
    "resnet_batch": ResNetConfig(SMALL, 6, (8, 10), ((5, 7), (9,)), 4),
    "resnet_group": ResNetConfig(SMALL, 4, (4, 8), ((4,), (8,)), 4, norm="group", groups=2),
    "resnet_bare": ResNetConfig(SMALL, 4, (4, 6), ((5,), (7,)), 4, norm="none"),
    "resnet_imagenet": ResNetConfig.imagenet(18, (3, 32, 32), 4, width=1 / 16),
    "vit_module": ViTConfig(SMALL, 4, 16, 2, (12, 10), (16, 16), 5),
    "vit_post": ViTConfig(SMALL, 4, 16, 2, (12,), (16,), 5, norm_first=False, final_norm=False),
    "vit_qkv": ViTConfig(
        SMALL, 4, 16, 2, (12,), (12,), 5, attention="qkv", qkv_bias=False, embedding="linear", class_position=False
    ),
    "vit_mean": ViTConfig(SMALL, 4, 16, 4, (12,), (16,), 5, class_token=False, pool="mean"),
}


def lively(config: Config, seed: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = randomised(build(config))
        for name, parameter in model.named_parameters():
            if name in ("cls_token", "pos_embed"):
                torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_spaces_hold(name: str) -> None:
    config = CONFIGS[name]
    models = [lively(config, seed) for seed in (0, 1)]
    x = example_input(config)
    found = trace(models[0], (x,))
    reports = verify_all(found, [model.state_dict() for model in models], (x,))
    assert all(report.difference < 1e-12 and not report.warnings for report in reports)
    hidden = {space.size for space in found.spaces.values()}
    if isinstance(config, ResNetConfig):
        assert set(config.inner[0]) <= hidden or config.norm == "group"
    assert len(found.levels) > 2

    program = Program(found, None, [found.output])
    more = example_input(config, 5)
    with torch.inference_mode():
        (traced,) = program(models[0].state_dict(), more)
        torch.testing.assert_close(traced, models[0](more))
