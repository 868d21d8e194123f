"""Every architecture, every regime: how good and how fast is each fusion against its parents and their ensembles?

    python benchmarks/architectures.py [--data ../shared/data] [--networks mlp,vgg,...] [--regimes full,non_iid]
                                       [--parents 2,4] [--recipes ...] [--epochs 5] [--train-only]

Parents are trained by the project's own trainer on the CIFAR-10 training images, with the same data, seed and epochs
for every row, and kept in benchmarks/results/parents. Four parents are trained together in each regime. In the
full regime the first two of them are the pair; in the non-IID regime a pair has shares of its own. Calibration: 400
of the training images, balanced over the classes; accuracy on the test images. The floor is one forward pass of every
parent and of the fused model over the calibration data, measured beside the fusion. Every network runs in a process
of its own. Prints a table and writes benchmarks/results/architectures.json.
"""

from __future__ import annotations

import json
import statistics
import sys
from argparse import Namespace
from itertools import product
from typing import Any

from _inputs import balanced, cifar10, trained_once
from _running import RESULTS, line, names, numbers, parser, print_table, run_alone, write_results
from fusion_speed import floor_seconds

# Name of the row -> network and width multiplier. Narrow VGG11 and ViT: ten parents of each are trained.
NETWORKS: dict[str, tuple[str, float]] = {
    "mlp": ("mlp", 1.0),
    "vgg11 / 4": ("vgg", 0.25),
    "vgg11-BN / 4": ("vgg_bn", 0.25),
    "resnet20": ("resnet20", 1.0),
    "vit / 2": ("vit", 0.5),
}
RECIPES = "average,hf_linear,kf_linear,kf_gradient,best_zero_shot"
REFERENCES = ("best_parent", "mean_parent", "average", "ensemble", "softmax_ensemble")
COLUMNS = "network,regime,parents,recipe,best parent,average,ensemble,softmax,fused,s,x floor"
CALIBRATION = 400


def parents_of(row: str, regime: str, count: int, epochs: int, data: Any) -> list[Any]:
    """The trained parents, from the cache or trained now."""
    from fusion_engine.training import train_parents

    name, width = NETWORKS[row]
    trained = 4 if regime == "full" else count
    folder = RESULTS / "parents" / f"{name}-{width}-{regime}-{trained}-{epochs}"
    settings = {"parents": trained, "regime": regime, "seed": 0, "epochs": epochs, "batch_size": 64, "width": width}
    paths = [folder / f"parent_{p}.safetensors" for p in range(trained)]
    return trained_once(paths, lambda: train_parents(name, data, **settings))[:count]


def rows_of(row: str, options: Namespace) -> list[dict[str, Any]]:
    """One row a recipe, regime and number of parents."""
    from fusion_engine import fuse
    from fusion_engine.core.errors import RecipeError
    from fusion_engine.jobs.service.warm import warm_tracing

    train, test = cifar10(options.data)
    calibration = balanced(train, CALIBRATION)
    rows = []
    warm_tracing()
    for regime, count in product(options.regimes, options.parents):
        parents = parents_of(row, regime, count, options.epochs, train)
        if options.train_only:
            continue
        floor = floor_seconds(parents, calibration, 3)
        for recipe in options.recipes:
            try:
                results = [fuse(parents, calibration, recipe, seed=0, test=test)]
            except RecipeError:  # hf_linear takes two parents
                continue
            if results[0].report["seconds"]["total"] < 3:
                results += [fuse(parents, calibration, recipe, seed=0) for _ in range(2)]
            report = results[0].report
            seconds = statistics.median(r.report["seconds"]["total"] for r in results)
            rows.append({
                "network": row, "parameters": sum(p.numel() for p in parents[0].model.parameters()),
                "regime": regime, "parents": count, "recipe": recipe, "accuracy": report["fused"]["accuracy"],
                **{name: report[name]["accuracy"] for name in REFERENCES}, "seconds": seconds, "floor": floor,
                "ratio": seconds / floor, "stages": report["seconds"], "notes": report["warnings"],
            })
            print(line(_cells(rows[-1])), file=sys.stderr, flush=True)
    return rows


def _cells(row: dict[str, Any]) -> list[str]:
    shares = [f"{100 * row[k]:.1f}" for k in ("best_parent", "average", "ensemble", "softmax_ensemble", "accuracy")]
    cells = [row["network"], row["regime"], str(row["parents"]), row["recipe"], *shares]
    return [*cells, f"{row['seconds']:.2f}", f"{row['ratio']:.1f}"]


def main() -> None:
    """Run the networks one after another, each in its own process."""
    arguments = parser(__doc__)
    arguments.add_argument("--networks", type=names, default=",".join(NETWORKS))
    arguments.add_argument("--regimes", type=names, default="full,non_iid")
    arguments.add_argument("--parents", type=numbers, default="2,4")
    arguments.add_argument("--recipes", type=names, default=RECIPES)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--train-only", action="store_true", help="train and keep the parents, fuse nothing")
    options = arguments.parse_args()
    if options.alone:
        print(json.dumps(rows_of(options.alone, options)))
        return
    rows = [row for name in options.networks for row in run_alone(name)]
    if not options.train_only:
        print_table(names(COLUMNS), list(map(_cells, rows)))
        write_results("architectures", rows)


if __name__ == "__main__":
    main()
