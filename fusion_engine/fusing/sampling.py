"""Training inputs drawn from a few calibration samples: mixup and small shifts of images."""

import torch
import torch.nn.functional as F
from torch import Tensor


def draw(samples: int, batch: int, generator: torch.Generator) -> Tensor:
    """(batch,) positions among `samples`, with replacement, on the generator's device."""
    return torch.randint(samples, (batch,), generator=generator, device=generator.device)


def augmented(
    x: Tensor, y: Tensor, batch: int, mix: bool, shift: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch of inputs and label shares: drawn, shifted by up to `shift` where they are images, mixed if `mix`.

    Inputs that are no numbers to calculate with (tokens) are left as they are.
    """
    rows = draw(len(x), batch, generator)
    x, y = x[rows], y[rows]
    if shift and x.dim() == 4 and x.is_floating_point():
        x = shifted(x, shift, generator)
    return mixup(x, y, generator) if mix and x.is_floating_point() else (x, y)


def mixup(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs x (n, ...) and label shares y (n, classes), each lambda a + (1 - lambda) b with a random partner b and
    lambda uniform in [0, 1] (Zhang et al. 2018, alpha = 1)."""
    partner = torch.randperm(len(x), generator=generator, device=x.device)
    share = torch.rand(len(x), 1, generator=generator, device=x.device)
    return x[partner].lerp(x, share.reshape(-1, *[1] * (x.dim() - 1))), y[partner].lerp(y, share)


def shifted(x: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Images (n, channels, h, w), each rotated, scaled and moved a little, the edge repeated.

    amount: the largest shift as a part of the side; angles up to 2.5 * amount rad, scales within 1.5 * amount.
    """
    n = len(x)

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=x.device) * 2 - 1

    angle, scale = 2.5 * amount * uniform(n), 1 + 1.5 * amount * uniform(n)
    a, b = angle.cos() * scale, angle.sin() * scale
    # The coordinates of every pixel's source, in [-1, 1]; by hand, as affine_grid takes several times as long.
    ys = (torch.arange(x.shape[2], device=x.device) * 2 + 1) / x.shape[2] - 1
    xs = (torch.arange(x.shape[3], device=x.device) * 2 + 1) / x.shape[3] - 1
    move = 2 * amount * uniform(n, 2)
    columns = a[:, None] * xs + move[:, :1], b[:, None] * xs + move[:, 1:]
    grid = torch.stack(
        [
            columns[0][:, None, :] - (b[:, None] * ys)[:, :, None],
            columns[1][:, None, :] + (a[:, None] * ys)[:, :, None],
        ],
        -1,
    )
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
