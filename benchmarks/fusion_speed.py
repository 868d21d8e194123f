"""How fast and how accurate is a fusion, against the floor: the forward passes nobody can do without.

    python benchmarks/fusion_speed.py [--data ../shared/data] [--parts mnist,vgg,moments-400,moments-10000]
                                      [--repeats 5]

The floor is one forward pass of every parent and of the fused model over the calibration data. Every measurement
runs in a process of its own (so that peak memory is its own), the floor beside it in the same process; medians of
--repeats runs are shown (half as many for the VGGs). Prints a table and writes benchmarks/results/fusion_speed.json.
The two VGG11 parents are trained by the project's own trainer on first use and kept in benchmarks/results.
"""

from __future__ import annotations

import json
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _inputs import balanced, cifar10, published_mnist, trained_once
from _running import RESULTS, names, parser, print_table, run_alone, write_results

COLUMNS = "parents,recipe,accuracy %,best parent,average,softmax ensemble,seconds,floor s,ratio,peak MB"
MNIST_RECIPES = ("average", "hf_linear", "kf_linear", "best_zero_shot")


def peak_mb() -> float:
    """Peak resident memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def floor_seconds(parents: Sequence[Any], data: Any, repeats: int) -> float:
    """Median seconds of len(parents) + 1 forward passes over the data."""
    import torch

    batches = [x for x, _ in data.batches(100)]
    times = []
    with torch.inference_mode():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            for model in [*(p.model for p in parents), parents[0].model]:
                for x in batches:
                    model(x)
            times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def fusion_rows(
    parents: Sequence[Any], data: Any, test: Any, recipes: Sequence[Any], repeats: int
) -> list[dict[str, Any]]:
    """One row a recipe: accuracy, the references, seconds by stage, ratio to the floor."""
    from fusion_engine import fuse
    from fusion_engine.jobs.service.warm import warm_tracing

    rows = []
    floor = floor_seconds(parents, data, repeats)
    warm_tracing()  # as the command line does
    fuse(parents, data, recipes[0], seed=0)
    for recipe in recipes:
        seconds = [fuse(parents, data, recipe, seed=0).report["seconds"] for _ in range(repeats)]
        report = fuse(parents, data, recipe, seed=0, test=test).report
        totals = [s["total"] for s in seconds]
        total = statistics.median(totals)
        rows.append({
            "recipe": report["recipe"]["name"], "accuracy": report["fused"]["accuracy"],
            "parents": [p["accuracy"] for p in report["parents"]], "average": report["average"]["accuracy"],
            "ensemble": report["ensemble"]["accuracy"], "softmax_ensemble": report["softmax_ensemble"]["accuracy"],
            "seconds": total, "slowest": max(totals),
            "stages": {k: statistics.median(s[k] for s in seconds) for k in seconds[0]}, "floor": floor,
            "ratio": total / floor, "decisions": report["decisions"],
        })
    return rows


def vgg_parents(data: Any) -> list[Any]:
    """Two VGG11 of 9.2 M weights on non-IID shares of 10,000 CIFAR-10 images; trained once."""
    from fusion_engine.training import train_parents

    settings = {"parents": 2, "regime": "non_iid", "seed": 0, "epochs": 5, "batch_size": 64, "learning_rate": 5e-4}
    paths = [RESULTS / f"vgg11_{i}.safetensors" for i in range(2)]
    return trained_once(paths, lambda: train_parents("vgg", data, **settings))


def vgg(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """k-means with least squares on the two VGG11, 400 images."""
    from fusion_engine.core.recipe import Recipe

    recipe = Recipe.from_mapping({
        "name": "kmeans + least_squares", "importance": "activation", "grouping": "kmeans",
        "solver": {"method": "least_squares", "head_weights": "class_share"},
    })
    train, test = cifar10(folder)
    rows = fusion_rows(vgg_parents(train), balanced(train, 400), test, [recipe], repeats)
    return [{**row, "peak_mb": peak_mb()} for row in rows]


def moments(folder: Path, samples: int) -> list[dict[str, Any]]:
    """Joint second moments of both VGG11 in all spaces: peak memory and seconds."""
    from fusion_engine import load_data
    from fusion_engine.graph import trace
    from fusion_engine.stats import parent_moments

    train = load_data(folder / "cifar10-train-10000.npz")
    parents, data = vgg_parents(train), balanced(train, samples)
    graph = trace(parents[0].model, (data.normalised(slice(0, 2)),))
    base, start = peak_mb(), time.perf_counter()
    spaces = len(parent_moments(graph, [p.state for p in parents], data, precision="mixed"))
    seconds = time.perf_counter() - start
    return [{"samples": samples, "spaces": spaces, "seconds": seconds, "base_mb": base, "peak_mb": peak_mb()}]


PARTS = {
    "mnist": lambda folder, repeats: fusion_rows(*published_mnist(folder), MNIST_RECIPES, repeats),
    "vgg": lambda folder, repeats: vgg(folder, max(1, repeats // 2)),
    "moments-400": lambda folder, repeats: moments(folder, 400),
    "moments-10000": lambda folder, repeats: moments(folder, 10_000),
}


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """The table."""
    rows = []
    for part in ("mnist", "vgg"):
        for r in results.get(part, []):
            shares = (r["accuracy"], max(r["parents"]), r["average"], r["softmax_ensemble"])
            cells = [part, r["recipe"], *(f"{100 * share:.2f}" for share in shares)]
            cells += [f"{r['seconds']:.3f}", f"{r['floor']:.4f}", f"{r['ratio']:.1f}"]
            rows.append([*cells, f"{r['peak_mb']:.0f}" if "peak_mb" in r else ""])
    print_table(names(COLUMNS), rows)
    for part in ("moments-400", "moments-10000"):
        for r in results.get(part, []):
            memory = f"peak {r['peak_mb']:.0f} MB (before: {r['base_mb']:.0f})"
            print(f"moments over {r['samples']} samples: {r['seconds']:.2f} s, {memory}")


def main() -> None:
    """Run the parts one after another, each in its own process."""
    arguments = parser(__doc__)
    arguments.add_argument("--parts", type=names, default=",".join(PARTS))
    arguments.add_argument("--repeats", type=int, default=5)
    options = arguments.parse_args()
    if options.alone:
        print(json.dumps(PARTS[options.alone](options.data, options.repeats)))
        return
    results = {part: run_alone(part) for part in options.parts}
    write_results("fusion_speed", results)
    show(results)


if __name__ == "__main__":
    main()
