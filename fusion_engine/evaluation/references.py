"""The models every fused network is compared with: its parents, their average, and their ensembles."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..data import Dataset, check_samples
from ..parents import Parent, module_for, same_widths
from .measures import Evaluation, collect_logits, evaluate, measure


def average_state(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The plain average: the mean of every floating-point tensor; integers (counters) are the first state's."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point() else tensor.clone()
        for name, tensor in states[0].items()
    }


def ensembles(logits: Tensor, head_weights: Tensor | None = None) -> dict[str, Tensor]:
    """Outputs (N, classes) of the ensembles of k parents' `logits` (k, N, classes).

    ensemble: mean of logits. softmax_ensemble: log of the mean of softmax probabilities. head_weighted_ensemble: sum
    of logits weighted per parent and class by `head_weights` (k, classes), where given.
    """
    k = len(logits)
    found = {
        "ensemble": logits.mean(0),
        "softmax_ensemble": logits.double().log_softmax(-1).logsumexp(0) - torch.log(torch.tensor(float(k))),
    }
    if head_weights is not None:
        found["head_weighted_ensemble"] = (logits * head_weights.to(logits)[:, None]).sum(0)
    return found


def compare(
    parents: Sequence[Parent],
    fused: Mapping[str, Tensor] | None,
    data: Dataset,
    head_weights: Tensor | None = None,
    *,
    batch_size: int = 512,
    device: torch.device | str = "cpu",
    once: Callable[[Callable[[], Tensor]], Tensor] = lambda compute: compute(),
) -> dict[str, Any]:
    """Evaluations of parents, references and the fused state on `data`.

    head_weights (k, classes) adds the head-weighted ensemble. Parents of different widths have no 'average'. once:
    gives what computing the outputs of parents and average gives, which is the same for all fusions of the parents.
    Returns the report's plain values: 'parents' (a list; 'file' is the parent's name), 'best_parent', 'mean_parent',
    'average', 'ensemble', 'softmax_ensemble', 'head_weighted_ensemble', 'fused'; each with accuracy, loss, per_class,
    confusion ('mean_parent': accuracy and loss). Raises DataError without labels, and for samples that do not fit the
    parents.
    """
    check_samples(data, parents[0].classes, parents[0].input_shape)
    same_width = same_widths(parents)
    states = [parent.state for parent in parents]
    models = [parent.model for parent in parents]
    if same_width:
        states.append(average_state(states))
        models.append(module_for(parents, states[-1]))
    logits = once(lambda: collect_logits(models, states, data, batch_size=batch_size, device=device))
    own = logits[: len(parents)]
    singles = [measure(rows, data) for rows in own]
    best = max(range(len(singles)), key=lambda p: singles[p].accuracy)
    named: dict[str, Evaluation] = {"average": measure(logits[len(parents)], data)} if same_width else {}
    named |= {name: measure(rows, data) for name, rows in ensembles(own, head_weights).items()}
    if fused is not None:
        module = module_for(parents, fused)
        named["fused"] = evaluate(module, fused, data, batch_size=batch_size, device=device)
    return {
        "parents": [{"file": p.name, **single.as_json()} for p, single in zip(parents, singles, strict=True)],
        "best_parent": {"file": parents[best].name, **singles[best].as_json()},
        "mean_parent": {
            "accuracy": sum(s.accuracy for s in singles) / len(singles),
            "loss": sum(s.loss for s in singles) / len(singles),
        },
        **{name: evaluation.as_json() for name, evaluation in named.items()},
    }
