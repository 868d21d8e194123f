"""Seconds and memory of fusing wide layers, and a ResNet-50 at 224 x 224.

    python benchmarks/wide.py [--cases 2x4096:kf_linear,8x4096:kf_linear,resnet50x32:kf_linear]

A case PARENTSxWIDTH is of multilayer perceptrons 784-WIDTH-WIDTH-10 with random weights, the second a permuted and
slightly noised twin of the first, the others alike, on 400 labelled samples; resnet50xSAMPLES is of two ResNet-50
(25.6 M weights, an own module, captured) on that many unlabelled images. Every case runs in a process of its own that
may not take more than 14 GB of address space; memory is its peak, parents included. CPU seconds count all threads, so
they hardly depend on what else the machine does. Prints a table and writes benchmarks/results/wide.json.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from _running import ROOT, names, parser, print_table, run_alone, write_results

LIMIT = 14 * 2**30  # bytes of address space
COLUMNS = "case,recipe,CPU s,wall s,peak MB,before: MB,importance s,grouping s,solve s,outputs' error %"
CASES = (
    "2x4096:kf_linear,2x4096:hf_linear,2x4096:git_rebasin_activations,2x4096:git_rebasin_weights,8x4096:kf_linear,"
    "8x4096:git_rebasin_activations,2x8192:kf_linear,2x8192:git_rebasin_activations,8x8192:kf_linear,"
    "resnet50x32:kf_linear,resnet50x32:git_rebasin_activations,resnet50x400:kf_linear"
)


def perceptrons(count: int, width: int) -> tuple[list[Any], Any]:
    """Parents that are permuted and noised twins of one, and samples."""
    import torch

    from fusion_engine.architectures import MLPConfig, build
    from fusion_engine.data import Dataset
    from fusion_engine.parents import Metadata, make_parent

    generator = torch.Generator().manual_seed(0)
    sizes = (784, width, width, 10)
    weights = [torch.randn(b, a, generator=generator) * (2 / a) ** 0.5 for a, b in pairwise(sizes)]
    biases = [0.1 * torch.randn(n, generator=generator) for n in sizes[1:]]
    config = MLPConfig(sizes)
    keys = list(build(config).state_dict())
    parents = []
    for number in range(count):
        orders = [torch.randperm(n, generator=generator) if number else torch.arange(n) for n in (width, width)]
        state, before = {}, torch.arange(784)
        for layer in range(3):
            after = orders[layer] if layer < 2 else torch.arange(10)
            noise = 0.05 * weights[layer].std() * torch.randn(weights[layer].shape, generator=generator)
            state[keys[2 * layer]] = (weights[layer] + noise * bool(number))[after][:, before].contiguous()
            state[keys[2 * layer + 1]] = biases[layer][after].clone()
            before = after
        parents.append(make_parent(f"parent_{number}", config, state, Metadata(class_counts=[1] * 10)))
    x = torch.rand(400, 784, generator=generator)
    return parents, Dataset(x=x, y=torch.arange(400) % 10, classes=10)


def residual(samples: int) -> tuple[list[Any], Any]:
    """Two ResNet-50 and unlabelled samples."""
    import torch
    from _resnet50 import resnet50

    from fusion_engine import load_parents
    from fusion_engine.data import Dataset

    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for seed in range(2):
            torch.manual_seed(seed)
            paths.append(Path(folder) / f"parent_{seed}.pt")
            torch.save(resnet50().state_dict(), paths[-1])
        parents = load_parents(paths, arch="_resnet50:resnet50", input_shape=(3, 224, 224))
    generator = torch.Generator().manual_seed(100)
    coarse = torch.rand(samples, 3, 28, 28, generator=generator)
    x = (torch.nn.functional.interpolate(coarse, size=224, mode="bilinear") * 255).to(torch.uint8)
    return parents, Dataset(x=x, y=None, classes=1000)


def measured(case: str) -> dict[str, Any]:
    """One case, in this process."""
    import torch

    from fusion_engine import fuse
    from fusion_engine.core.errors import FusionError

    what, recipe = case.split(":")
    left, right = what.split("x")
    parents, data = residual(int(right)) if left == "resnet50" else perceptrons(int(left), int(right))
    before, cpu, wall = peak_mb(), time.process_time(), time.perf_counter()
    row: dict[str, Any] = {"case": what, "recipe": recipe, "before_mb": before}
    try:
        result = fuse(parents, data, recipe, seed=0)
    except (FusionError, MemoryError, RuntimeError) as problem:
        row["refused"] = str(problem).splitlines()[0]
        result = None
    row |= {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "peak_mb": peak_mb()}
    if result is not None:
        x = data.normalised(slice(0, 32))
        with torch.inference_mode():
            wanted, found = parents[0].model(x), result.model(x)
        row["error"] = float((found - wanted).norm() / (wanted - wanted.mean(0)).norm())
        row |= {"seconds": result.report["seconds"], "notes": result.report["warnings"]}
        row["decisions"] = {k: v for k, v in result.report["decisions"].items() if k == "wide"}
    return row


def peak_mb() -> float:
    """Peak resident memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cells(row: Mapping[str, Any]) -> list[str]:
    """A row of the table."""
    figures = [f"{row['cpu']:.0f}", f"{row['wall']:.0f}", f"{row['peak_mb']:.0f}", f"{row['before_mb']:.0f}"]
    stages = [f"{row['seconds'][s]:.1f}" if "seconds" in row else "" for s in ("importance", "grouping", "solve")]
    return [row["case"], row["recipe"], *figures, *stages, f"{100 * row['error']:.2f}" if "error" in row else "refused"]


def main() -> None:
    """Run the cases one after another, each in its own process."""
    arguments = parser(__doc__)
    arguments.add_argument("--cases", type=names, default=CASES)
    options = arguments.parse_args()
    if options.alone:
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
        sys.path.insert(0, str(ROOT / "benchmarks"))
        print(json.dumps(measured(options.alone)))
        return
    rows = []
    for case in options.cases:
        rows.append(run_alone(case))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    write_results("wide", rows)
    print_table(names(COLUMNS), [cells(row) for row in rows])


if __name__ == "__main__":
    main()
