"""How fast and how accurate is a fusion, against the floor: the forward passes nobody can do without.

    python benchmarks/fusion_speed.py [--data ../shared/data] [--parts mnist,vgg,moments-400,moments-10000]
                                      [--repeats 5]

The floor is one forward pass of every parent and of the fused model over the calibration data. Every measurement
runs in a process of its own (so that peak memory is its own), the floor beside it in the same process; medians of
--repeats runs are shown (half as many for the VGGs). Prints a table and writes benchmarks/results/fusion_speed.json.
The two VGG11 parents are trained by the project's own trainer on first use and kept in benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
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
    from fusion_engine.jobs.warm import warm_tracing

    rows = []
    floor = floor_seconds(parents, data, repeats)
    warm_tracing()  # as the command line does
    fuse(parents, data, recipes[0], seed=0)
    for recipe in recipes:
        seconds = [fuse(parents, data, recipe, seed=0).report["seconds"] for _ in range(repeats)]
        report = fuse(parents, data, recipe, seed=0, test=test).report
        totals = [s["total"] for s in seconds]
        total = statistics.median(totals)
        rows.append(
            {
                "recipe": report["recipe"]["name"], "accuracy": report["fused"]["accuracy"],
                "parents": [p["accuracy"] for p in report["parents"]], "average": report["average"]["accuracy"],
                "ensemble": report["ensemble"]["accuracy"], "softmax_ensemble": report["softmax_ensemble"]["accuracy"],
                "seconds": total, "slowest": max(totals),
                "stages": {k: statistics.median(s[k] for s in seconds) for k in seconds[0]}, "floor": floor,
                "ratio": total / floor, "decisions": report["decisions"],
            }
        )
    return rows


def mnist(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """The parents published with the neuron interpolation paper, 400 calibration samples."""
    from fusion_engine import load_data, load_parents

    parents = load_parents(sorted((folder / "mnist-mlp-noniid2").glob("parent_*.safetensors")))
    data = load_data(folder / "mnist-calibration-400.npz")
    return fusion_rows(parents, data, load_data(folder / "mnist-test-9600.npz"), MNIST_RECIPES, repeats)


def vgg_parents(folder: Path) -> list[Any]:
    """Two VGG11 of 9.2 M weights on non-IID shares of 10,000 CIFAR-10 images; trained once."""
    from fusion_engine import load_data, load_parents
    from fusion_engine.parents import save_parent
    from fusion_engine.training import train_parents

    paths = [RESULTS / f"vgg11_{i}.safetensors" for i in range(2)]
    if not all(p.exists() for p in paths):
        print("training two VGG11 (once; some minutes)", file=sys.stderr, flush=True)
        RESULTS.mkdir(parents=True, exist_ok=True)
        data = load_data(folder / "cifar10-train-10000.npz")
        trained = train_parents(
            "vgg", data, parents=2, regime="non_iid", seed=0, epochs=5, batch_size=64, learning_rate=5e-4
        )
        for path, parent in zip(paths, trained, strict=True):
            save_parent(path, parent)
    return load_parents(paths)


def calibration(folder: Path, samples: int) -> Any:
    """The first `samples` training images, balanced over the ten classes."""
    from fusion_engine import load_data
    from fusion_engine.data import balanced_sample

    data = load_data(folder / "cifar10-train-10000.npz")
    return data if samples >= len(data) else data.subset(balanced_sample(data, samples // 10, seed=0).tolist())


def vgg(folder: Path, repeats: int) -> list[dict[str, Any]]:
    """k-means with least squares on the two VGG11, 400 images."""
    from fusion_engine import load_data
    from fusion_engine.core.recipe import Recipe

    recipe = Recipe.from_mapping(
        {
            "name": "kmeans + least_squares", "importance": "activation", "grouping": "kmeans",
            "solver": {"method": "least_squares", "head_weights": "class_share"},
        }
    )
    parents, data = vgg_parents(folder), calibration(folder, 400)
    rows = fusion_rows(parents, data, load_data(folder / "cifar10-test-2000.npz"), [recipe], repeats)
    return [{**row, "peak_mb": peak_mb()} for row in rows]


def moments(folder: Path, samples: int) -> list[dict[str, Any]]:
    """Joint second moments of both VGG11 in all spaces: peak memory and seconds."""
    from fusion_engine.graph import trace
    from fusion_engine.stats import parent_moments

    parents, data = vgg_parents(folder), calibration(folder, samples)
    graph = trace(parents[0].model, (data.normalised(slice(0, 2)),))
    base, start = peak_mb(), time.perf_counter()
    found = parent_moments(graph, [p.state for p in parents], data, precision="mixed")
    return [
        {
            "samples": samples, "spaces": len(found), "seconds": time.perf_counter() - start, "base_mb": base,
            "peak_mb": peak_mb(),
        }
    ]


PARTS = {
    "mnist": lambda folder, repeats: mnist(folder, repeats),
    "vgg": lambda folder, repeats: vgg(folder, max(1, repeats // 2)),
    "moments-400": lambda folder, repeats: moments(folder, 400),
    "moments-10000": lambda folder, repeats: moments(folder, 10_000),
}


def run_alone(part: str, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """One part in a process of its own."""
    command = [sys.executable, __file__, "--data", str(folder), "--repeats", str(repeats), "--alone", part]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False
    )
    if done.returncode:
        sys.exit(f"{part} failed:\n{done.stderr}")
    return list(json.loads(done.stdout.splitlines()[-1]))


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    """The table."""
    columns = ("parents", "recipe", "accuracy %", "best parent", "average", "softmax ensemble", "seconds", "floor s")
    print("| " + " | ".join([*columns, "ratio", "peak MB"]) + " |")
    print("|---" * (len(columns) + 2) + "|")
    for part in ("mnist", "vgg"):
        for r in results.get(part, []):
            shares = (r["accuracy"], max(r["parents"]), r["average"], r["softmax_ensemble"])
            cells = [part, r["recipe"], *(f"{100 * share:.2f}" for share in shares)]
            cells += [f"{r['seconds']:.3f}", f"{r['floor']:.4f}", f"{r['ratio']:.1f}"]
            print("| " + " | ".join([*cells, f"{r['peak_mb']:.0f}" if "peak_mb" in r else ""]) + " |")
    for part in ("moments-400", "moments-10000"):
        for r in results.get(part, []):
            memory = f"peak {r['peak_mb']:.0f} MB (before: {r['base_mb']:.0f})"
            print(f"moments over {r['samples']} samples: {r['seconds']:.2f} s, {memory}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("FUSION_TEST_DATA", ROOT.parent / "shared" / "data"))
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.data.is_dir():
        sys.exit(f"no folder {options.data}: give the folder with the parents and data by --data")
    if options.alone:
        print(json.dumps(PARTS[options.alone](options.data, options.repeats)))
        return
    results = {part: run_alone(part, options.data, options.repeats) for part in options.parts.split(",")}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "fusion_speed.json").write_text(json.dumps(results, indent=1))
    show(results)


if __name__ == "__main__":
    main()
