"""evaluate: accuracy and loss of models on labelled data."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import add_options
from .output import check_writable, figure, table, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "models", "--arch", "--weights")
    parser.add_argument("--test", required=True, metavar="FILE.npz", help="labelled samples")
    add_options(parser, "--task", "--device", "--report")


def run(arguments: argparse.Namespace) -> None:
    """Evaluate each model by itself and print a table."""
    check_writable(arguments.report)
    from fusion_engine.data import check_samples, load_data
    from fusion_engine.evaluation import about, collect_outputs, measure, task_of
    from fusion_engine.parents import check_inputs, check_parents, load_parent, settled
    from fusion_engine.stats import checked_device

    data = load_data(arguments.test, task=arguments.task)
    device = checked_device(arguments.device)
    models: list[dict[str, Any]] = []
    task: dict[str, Any] = {}
    said: dict[str, None] = {}
    for path in arguments.models:
        model = load_parent(
            path, arguments.arch, input_shape=data.input_shape, tokens=data.tokens, weights=arguments.weights
        )
        (model,), read = settled([model], data)
        said |= dict.fromkeys([*check_parents([model], minimum=1), *read])
        check_samples(data, model.classes, model.input_shape)
        check_inputs(data, model)
        outputs = collect_outputs([model.model], [None], data, device=device)[0]
        models.append({"file": Path(path).name, **measure(outputs, data).as_json()})
        task = dict(about(task_of(outputs, data)))
        said |= dict.fromkeys(line for line in (task["why"],) if line)
    for line in said:
        print(f"note: {line}", file=sys.stderr)
    known = {"samples": len(data), "digest": data.digest}
    write_report(arguments.report, {"models": models, "data": known, "task": task})
    metric = task["metric"]
    print(table(("model", metric, "loss"), [(m["file"], figure(m, metric), m["loss"]) for m in models]))
