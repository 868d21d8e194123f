"""evaluate: accuracy and loss of models on labelled data."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .options import add_options
from .output import check_writable, table, write_report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, "models", "--arch", "--weights")
    parser.add_argument("--test", required=True, metavar="FILE.npz", help="labelled samples")
    add_options(parser, "--device", "--report")


def run(arguments: argparse.Namespace) -> None:
    """Evaluate each model by itself and print a table."""
    check_writable(arguments.report)
    from fusion_engine.data import check_samples, load_data
    from fusion_engine.evaluation import chance_notes, evaluate
    from fusion_engine.parents import check_parents, load_parent, settled
    from fusion_engine.stats import checked_device

    data = load_data(arguments.test)
    device = checked_device(arguments.device)
    models: list[dict[str, Any]] = []
    said: dict[str, None] = {}
    for path in arguments.models:
        model = load_parent(path, arguments.arch, input_shape=data.input_shape, weights=arguments.weights)
        check_samples(data, model.classes, model.input_shape)
        (model,), read = settled([model], data)
        said |= dict.fromkeys([*check_parents([model], minimum=1), *read, *chance_notes([model], data)])
        models.append({"file": Path(path).name, **evaluate(model.model, None, data, device=device).as_json()})
    for line in said:
        print(f"note: {line}", file=sys.stderr)
    write_report(arguments.report, {"models": models, "data": {"samples": len(data), "digest": data.digest}})
    rows = [(m["file"], f"{m['accuracy']:.2%}", m["loss"]) for m in models]
    print(table(("model", "accuracy", "loss"), rows))
