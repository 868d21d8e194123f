"""Parents that share a start: what is a recipe worth on networks fine-tuned from one base model?

    python benchmarks/fine_tuned.py [--data ../shared/data] [--networks mlp,vgg11,resnet20] [--seeds 0,1,2]

A base model is trained on a quarter of the training images (MLP: MNIST; VGG11 of quarter width and ResNet-20:
CIFAR-10), then two and four parents are fine-tuned on the others, of whose classes each sees some and the others see
the rest. Accuracy on the test images, which are of all classes, mean over the seeds; 400 calibration samples of those
that the parents were tuned on. TIES is tried with several densities and scales: `ties (chosen)` are those that do best
on the calibration samples. Every network and seed runs in a process of its own. Prints a table and writes
benchmarks/results/fine_tuned.json.
"""

from __future__ import annotations

import json
import statistics
import sys
from itertools import product
from pathlib import Path
from typing import Any

from _inputs import balanced, cifar10
from _running import names, parser, print_table, read_results, run_alone, write_results

NETWORKS = {"mlp": ("mlp", 1.0), "vgg11": ("vgg", 0.25), "resnet20": ("resnet20", 1.0)}  # name in the trainer, width
PARENTS = (2, 4)
BASE = {"parents": 1, "regime": "full", "epochs": 10}
TUNING = {"regime": "sharded", "epochs": 3, "learning_rate": 1e-3}
RECIPES = ("average", "ties", "regmean", "kf_linear", "git_rebasin_activations")
SWEEP = [(density, scale) for density in (0.1, 0.2, 0.5, 1.0) for scale in (0.5, 1.0, 1.5, 2.0)]
REFERENCES = ("best_parent", "mean_parent", "ensemble", "softmax_ensemble")
CALIBRATION = 400


def every(data: Any, step: int, rest: bool = False) -> Any:
    """Every step-th sample, or all others: the files may be sorted by class."""
    return data.subset([i for i in range(len(data)) if (i % step > 0) == rest])


def images_of(network: str, folder: Path) -> tuple[Any, Any, Any]:
    """Images for the base model, for the parents, and for the test."""
    from fusion_engine import load_data

    if network == "mlp":
        images = load_data(folder / "mnist-test-9600.npz")
        train, test = every(images, 3, rest=True), every(images, 3)
    else:
        train, test = cifar10(folder)
    return every(train, 4), every(train, 4, rest=True), test


def recalibrated(recipe: str) -> dict[str, Any]:
    """A preset with norm recalibration behind it."""
    from fusion_engine import recipes

    mapping = recipes()[recipe].recipe.to_mapping()
    return {**mapping, "name": f"{recipe} + recalibration", "post": ["norm_recalibration"]}


def scores_of(network: str, seed: int, folder: Path) -> dict[str, dict[str, Any]]:
    """By number of parents: accuracy by recipe and reference, and the sweep's."""
    from fusion_engine.training import train_parents

    name, width = NETWORKS[network]
    first, second, test = images_of(network, folder)
    [base] = train_parents(name, first, seed=seed, width=width, **BASE)
    found = {}
    for count in PARENTS:
        parents = train_parents(name, second, parents=count, seed=seed, width=width, base=base, **TUNING)
        found[str(count)] = fusions_of(parents, base, second, test, seed)
        print(network, seed, count, found[str(count)], file=sys.stderr, flush=True)
    return found


def fusions_of(parents: list[Any], base: Any, data: Any, test: Any, seed: int) -> dict[str, Any]:
    """Accuracy by recipe and reference, and [density, scale, accuracy] of the sweep."""
    from fusion_engine import fuse
    from fusion_engine.evaluation import evaluate
    from fusion_engine.stats import StatisticsCache

    calibration = balanced(data, CALIBRATION, seed)
    given = {"seed": seed, "base": base, "cache": StatisticsCache()}
    found = {"base": evaluate(base.model, None, test).accuracy}
    normed = any("running_mean" in tensor for tensor in base.state)
    for recipe in [*RECIPES, *(recalibrated(recipe) for recipe in ("average", "ties") if normed)]:
        report = fuse(parents, calibration, recipe, test=test, **given).report
        found[report["recipe"]["name"]] = report["fused"]["accuracy"]
        found |= {reference: report[reference]["accuracy"] for reference in REFERENCES}
    sweep, best = [], 0.0
    for density, scale in SWEEP:
        recipe = {"grouping": "identity", "solver": {"method": "ties", "density": density, "scale": scale}}
        model = fuse(parents, calibration, recipe, **given).model
        sweep.append([density, scale, evaluate(model, None, test).accuracy])
        if (score := evaluate(model, None, calibration).accuracy) > best:
            best, found["ties (chosen)"] = score, sweep[-1][-1]
    return {"accuracy": found, "sweep": sweep}


def show(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    """A table of recipes by network and number of parents, and the sweep's, means over the seeds."""
    found: dict[str, dict[str, list[float]]] = {}
    for place, runs in results.items():
        network = place.rsplit(" ", 1)[0]
        for count, run in runs.items():
            swept = {f"ties, density {d}, scale {s}": accuracy for d, s, accuracy in run["sweep"]}
            for name, accuracy in {**run["accuracy"], **swept}.items():
                found.setdefault(name, {}).setdefault(f"{count} x {network}", []).append(accuracy)
    columns = list(dict.fromkeys(column for cells in found.values() for column in cells))
    rows = []
    for name, cells in found.items():
        means = [f"{100 * statistics.mean(cells[c]):.1f}" if c in cells else "–" for c in columns]
        rows.append([name.replace("_", " ") if name in REFERENCES else name, *means])
    print_table(["recipe", *columns], rows)


def main() -> None:
    """Run networks and seeds one after another, each in its own process; results of earlier runs stay."""
    arguments = parser(__doc__)
    arguments.add_argument("--networks", type=names, default=",".join(NETWORKS))
    arguments.add_argument("--seeds", type=names, default="0,1,2")
    options = arguments.parse_args()
    if options.alone:
        network, seed = options.alone.split()
        print(json.dumps(scores_of(network, int(seed), options.data)))
        return
    for network, seed in product(options.networks, options.seeds):
        part = f"{network} {seed}"
        results = {**read_results("fine_tuned"), part: run_alone(part)}
        write_results("fine_tuned", dict(sorted(results.items())))
    show(read_results("fine_tuned"))


if __name__ == "__main__":
    main()
