"""Training inputs for distillation, drawn from a few calibration samples: mixup and small shifts of images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["draw", "mixup", "shifted"]


def draw(pool: Tensor, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` rows of `pool` (n, ...), with replacement."""
    return pool[torch.randint(len(pool), (batch,), generator=generator, device=pool.device)]


def mixup(x: Tensor, generator: torch.Generator) -> Tensor:
    """lambda x_i + (1 - lambda) x_j for random partners j, lambda uniform in [0, 1] (Zhang et al. 2018, alpha = 1).

    x: (batch, ...). The teacher labels the mixture itself, so only inputs are mixed.
    """
    partner = x[torch.randperm(len(x), generator=generator, device=x.device)]
    share = torch.rand(len(x), *[1] * (x.dim() - 1), generator=generator, device=x.device)
    return partner.lerp(x, share)


def shifted(x: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Images (n, channels, h, w), each rotated, scaled and moved a little, the edge repeated.

    amount: the largest shift as a part of the side; angles up to 2.5 * amount rad, scales within 1.5 * amount.
    """
    n = len(x)

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=x.device) * 2 - 1

    angle, scale = 2.5 * amount * uniform(n), 1 + 1.5 * amount * uniform(n)
    matrix = torch.empty(n, 2, 3, device=x.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos() * scale
    matrix[:, 1, 0] = angle.sin() * scale
    matrix[:, 0, 1] = -matrix[:, 1, 0]
    matrix[:, :, 2] = 2 * amount * uniform(n, 2)
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
