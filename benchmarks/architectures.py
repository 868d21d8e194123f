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

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from fusion_speed import RESULTS, ROOT, floor_seconds

# Name of the row -> network and width multiplier. Narrow VGG11 and ViT: ten parents of each are trained.
NETWORKS: dict[str, tuple[str, float]] = {
    "mlp": ("mlp", 1.0),
    "vgg11 / 4": ("vgg", 0.25),
    "vgg11-BN / 4": ("vgg_bn", 0.25),
    "resnet20": ("resnet20", 1.0),
    "vit / 2": ("vit", 0.5),
}
RECIPES = ("average", "hf_linear", "kf_linear", "kf_gradient", "best_zero_shot")
CALIBRATION = 400


def parents_of(row: str, regime: str, count: int, epochs: int, data: Any) -> list[Any]:
    """The trained parents, from the cache or trained now."""
    from fusion_engine import load_parents
    from fusion_engine.parents import save_parent
    from fusion_engine.training import train_parents

    name, width = NETWORKS[row]
    trained = 4 if regime == "full" else count
    folder = RESULTS / "parents" / f"{name}-{width}-{regime}-{trained}-{epochs}"
    paths = [folder / f"parent_{p}.safetensors" for p in range(trained)]
    if not all(path.exists() for path in paths):
        made = train_parents(
            name, data, parents=trained, regime=regime, seed=0, epochs=epochs, batch_size=64, width=width
        )
        folder.mkdir(parents=True, exist_ok=True)
        for path, parent in zip(paths, made, strict=True):
            save_parent(path, parent)
    return load_parents([str(path) for path in paths[:count]])


def rows_of(
    row: str, regimes: list[str], counts: list[int], recipes: list[str], epochs: int, folder: Path, train_only: bool
) -> list[dict[str, Any]]:
    """One row a recipe, regime and number of parents."""
    from fusion_engine import fuse, load_data
    from fusion_engine.core.errors import RecipeError
    from fusion_engine.data import balanced_sample
    from fusion_engine.jobs.warm import warm_tracing

    train, test = load_data(folder / "cifar10-train-10000.npz"), load_data(folder / "cifar10-test-2000.npz")
    calibration = train.subset(balanced_sample(train, CALIBRATION // train.classes, seed=0))
    rows = []
    warm_tracing()
    for regime in regimes:
        for count in counts:
            parents = parents_of(row, regime, count, epochs, train)
            if train_only:
                continue
            floor = floor_seconds(parents, calibration, 3)
            for recipe in recipes:
                try:
                    results = [fuse(parents, calibration, recipe, seed=0, test=test)]
                except RecipeError:  # hf_linear takes two parents
                    continue
                if results[0].report["seconds"]["total"] < 3:
                    results += [fuse(parents, calibration, recipe, seed=0) for _ in range(2)]
                report = results[0].report
                seconds = statistics.median(r.report["seconds"]["total"] for r in results)
                rows.append(
                    {
                        "network": row, "parameters": sum(p.numel() for p in parents[0].model.parameters()),
                        "regime": regime, "parents": count, "recipe": recipe, "accuracy": report["fused"]["accuracy"],
                        "best_parent": report["best_parent"]["accuracy"],
                        "mean_parent": report["mean_parent"]["accuracy"], "average": report["average"]["accuracy"],
                        "ensemble": report["ensemble"]["accuracy"],
                        "softmax_ensemble": report["softmax_ensemble"]["accuracy"], "seconds": seconds, "floor": floor,
                        "ratio": seconds / floor, "stages": report["seconds"], "notes": report["warnings"],
                    }
                )
                print(_line(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    shares = [f"{100 * row[k]:.1f}" for k in ("best_parent", "average", "ensemble", "softmax_ensemble", "accuracy")]
    cells = [row["network"], row["regime"], str(row["parents"]), row["recipe"], *shares]
    return "| " + " | ".join([*cells, f"{row['seconds']:.2f}", f"{row['ratio']:.1f}"]) + " |"


def main() -> None:
    """Run the networks one after another, each in its own process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--regimes", default="full,non_iid")
    parser.add_argument("--parents", default="2,4")
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--train-only", action="store_true", help="train and keep the parents, fuse nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        rows = rows_of(
            options.one, options.regimes.split(","), [int(n) for n in options.parents.split(",")],
            options.recipes.split(","), options.epochs, options.data, options.train_only,
        )
        print(json.dumps(rows))
        return
    rows = []
    for name in options.networks.split(","):
        done = subprocess.run(
            [sys.executable, *sys.argv, "--one", name], stdout=subprocess.PIPE, text=True, check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        rows += json.loads(done.stdout.strip().splitlines()[-1])
    if options.train_only:
        return
    print("| network | regime | parents | recipe | best parent | average | ensemble | softmax | fused | s | x floor |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    print("\n".join(map(_line, rows)))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "architectures.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
