"""Train parents of our own: demo parents for the app, and parents for experiments."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..architectures import Config, build
from ..core.errors import DataError, ParentError
from ..core.progress import Listener, Progress, no_progress
from ..core.seeds import torch_generator
from ..data import Dataset, check_training, partition
from ..parents import MAX_PARENTS, Metadata, Parent, make_parent
from .networks import network


def train_parents(
    architecture: Config | str,
    data: Dataset,
    *,
    parents: int = 2,
    regime: str = "non_iid",
    seed: int = 0,
    epochs: int = 20,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    optimiser: Literal["adamw", "sgd"] = "adamw",
    same_init: bool = False,
    base: Parent | None = None,
    width: float = 1.0,
    on_progress: Listener = no_progress,
    device: torch.device | str = "cpu",
) -> list[Parent]:
    """Train networks of one architecture on their shares of labelled `data`: 2 to 8 parents, or one base model.

    architecture: a config, or a name of `networks.NETWORKS`, sized to the data, whose hidden widths are multiplied by
    `width`. regime: see `data.partition`. Each parent starts from its own random weights, from the same as the others
    with `same_init`, or from those of `base`, a model of this architecture that is fine-tuned. The learning rate
    follows one cycle with the given peak.
    Progress comes with every batch and may raise Cancelled; nothing is kept then. The same seed gives the same
    parents. Raises ParentError for wrong settings or diverging training, DataError for data that does not fit.
    """
    if epochs < 1 or batch_size < 2 or not 0 < learning_rate < 10:
        raise ParentError("training needs at least 1 epoch, 2 samples a batch and a learning rate in (0, 10)")
    if optimiser not in ("adamw", "sgd"):
        raise ParentError(f"unknown optimiser {optimiser!r}; there are adamw and sgd")
    if not 1 <= parents <= MAX_PARENTS:
        raise ParentError(f"1 to {MAX_PARENTS} parents can be trained, not {parents}")
    if width != 1.0 and not isinstance(architecture, str):
        raise ParentError("a config has its widths already; `width` is for networks given by name")
    config = network(architecture, data, width) if isinstance(architecture, str) else architecture
    if base is not None and base.architecture != config:
        raise ParentError(f"{base.name} cannot be fine-tuned: it is {base.architecture}, not {config}")
    check_training(data, config.classes, config.input_shape)
    shares = [data.subset(torch.from_numpy(share)) for share in partition(data, parents, regime, seed)]
    for p, share in enumerate(shares):
        if len(share) < 2:
            raise DataError(f"{data.name}: parent {p} would be trained on {len(share)} samples; use fewer parents")

    trained = []
    for p, share in enumerate(shares):
        name = f"parent_{p}"
        progress = Progress.to(on_progress).part(p / parents, (p + 1) / parents, "train")

        def report(fraction: float, loss: float, p: int = p, progress: Progress = progress) -> None:
            progress.report(fraction, f"training parent_{p}, loss {loss:.3f}", {"parent": p, "loss": loss})

        model = build(config)
        if base is None:
            _initialise(model, torch_generator(seed, "initial weights", 0 if same_init else p))
        else:
            model.load_state_dict(base.state)
        descent = _optimiser(model.to(device), optimiser, learning_rate)
        _fit(model, share, epochs, batch_size, descent, torch_generator(seed, "order of samples", p), report)
        how = {
            "regime": regime, "seed": seed, "parent": p, "parents": parents, "samples": len(share), "data": data.name,
            "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "optimiser": optimiser,
            "same_init": same_init,
        } | ({} if base is None else {"base": base.digest})
        metadata = Metadata(class_counts=share.counts.tolist(), data_digest=share.digest, training=how)
        trained.append(make_parent(name, config, model.state_dict(), metadata))
    return trained


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Random weights from our own generator, so that the global random state plays no part.

    He et al. (2015) for layers that ReLU follows; Glorot & Bengio (2010) in transformers, whose patch convolution
    counts as the linear layer that it is, and N(0, 0.02) for their class token and positions.
    """
    transformer = any(isinstance(module, nn.LayerNorm) for module in model.modules())
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if transformer:
                nn.init.xavier_uniform_(module.weight.flatten(1), generator=generator)
            else:
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight, generator=generator)
            if module.in_proj_bias is not None:
                nn.init.zeros_(module.in_proj_bias)
    for name, parameter in model.named_parameters():
        if name in ("cls_token", "pos_embed"):
            nn.init.normal_(parameter, std=0.02, generator=generator)


def _fit(
    model: nn.Module,
    data: Dataset,
    epochs: int,
    batch_size: int,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    report: Callable[[float, float], None],
) -> None:
    """Minimise the cross entropy; calls report(fraction done, loss) after every batch."""
    starts = [s for s in range(0, len(data), batch_size) if len(data) - s > 1]  # BatchNorm needs two samples
    steps = epochs * len(starts)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, optimiser.defaults["lr"], total_steps=steps + 1)
    device, labels = next(model.parameters()).device, data.y
    assert labels is not None  # checked by the caller
    model.train()
    done = 0
    for _ in range(epochs):
        order = torch.randperm(len(data), generator=generator)
        for start in starts:
            batch = order[start : start + batch_size]
            logits: Tensor = model(data.normalised(batch).to(device))
            loss = nn.functional.cross_entropy(logits, labels[batch].to(device))
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            if not torch.isfinite(norm):
                raise ParentError("the training diverged; use a lower learning rate")
            optimiser.step()
            schedule.step()
            done += 1
            report(done / steps, float(loss.detach()))
    model.eval()


def _optimiser(model: nn.Module, kind: str, rate: float) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": rate, "weight_decay": 1e-4}
    if kind == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=0.9, nesterov=True, **options)
    return torch.optim.AdamW(model.parameters(), **options)
