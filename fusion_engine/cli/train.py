"""train: train parents on shares of a data set."""

import argparse
from pathlib import Path

from fusion_engine.core.errors import FusionError

from .options import add_options
from .output import check_writable, progress_line, table, write_report

_EPOCHS = 20
_NETWORKS = ("mlp", "vgg", "vgg_bn", "resnet20", "resnet20_gn", "vit")  # training.NETWORKS, without importing torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arch", required=True, metavar="NAME", help=f"{', '.join(_NETWORKS)}; sized to the data")
    parser.add_argument("--data", required=True, metavar="NAME|FILE.npz", help="digits, digits:train or a file")
    parser.add_argument("--parents", type=int, default=2, metavar="K", help="how many (1 to 8, default 2)")
    parser.add_argument(
        "--regime", default="non_iid", choices=("full", "non_iid", "sharded"), help="how the data is shared out"
    )
    parser.add_argument("--base", metavar="FILE", help="fine-tune this model instead of starting from random weights")
    parser.add_argument("--epochs", type=int, default=_EPOCHS, help=f"passes over the data (default {_EPOCHS})")
    parser.add_argument(
        "--width", type=float, default=1.0, metavar="X", help="multiply the network's hidden widths (default 1)"
    )
    add_options(parser, "--seed", "--device")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder for the parents")


def run(arguments: argparse.Namespace) -> None:
    """Train, then write all parents and parents.json together."""
    target: Path = arguments.out
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FusionError(f"{target}: exists already; give a new folder")
    check_writable(target / "parents.json" if target.is_dir() else target)
    from fusion_engine.data import load_data
    from fusion_engine.parents import load_parent, save_parent
    from fusion_engine.stats import checked_device
    from fusion_engine.store.files import staged_folder
    from fusion_engine.training import train_parents

    data = load_data(arguments.data)
    with progress_line() as progress:
        parents = train_parents(
            arguments.arch, data, parents=arguments.parents, regime=arguments.regime, seed=arguments.seed,
            epochs=arguments.epochs, base=load_parent(arguments.base) if arguments.base else None,
            width=arguments.width, on_progress=progress, device=checked_device(arguments.device),
        )
    counts = {f"{p.name}.safetensors": p.metadata.class_counts or [] for p in parents}
    with staged_folder(target.absolute()) as stage:
        for parent in parents:
            save_parent(stage / f"{parent.name}.safetensors", parent)
        entries = [{"file": file, "class_counts": of_classes} for file, of_classes in counts.items()]
        write_report(stage / "parents.json", {"architecture": str(parents[0].architecture), "parents": entries})
    rows = [(file, sum(of_classes), " ".join(map(str, of_classes))) for file, of_classes in counts.items()]
    print(table(("parent", "samples", "samples of each class"), rows))
