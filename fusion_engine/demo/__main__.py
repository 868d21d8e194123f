"""Train the demo parents again: python -m fusion_engine.demo [FOLDER] (default: where the program keeps them)."""

import sys
from pathlib import Path

from ..data import load_data
from ..evaluation import compare
from ..parents import Parent, save_parent
from ..training import train_parents
from . import DEMOS

PARENTS = {"mlp": 4, "vgg": 2}
SEED = 0


def make(name: str) -> list[Parent]:
    """Train one set of demo parents."""
    return train_parents(name, load_data("digits:train"), parents=PARENTS[name], regime="non_iid", seed=SEED)


def main(folder: Path) -> None:
    """Train all sets, write them to `folder`, and print how good they are."""
    test = load_data("digits:test")
    for name in DEMOS:
        parents = make(name)
        for parent in parents:
            save_parent(folder / name / f"{parent.name}.safetensors", parent)
        report = compare(parents, None, test)
        single = ", ".join(f"{p['accuracy']:.1%}" for p in report["parents"])
        average, ensemble = report["average"]["accuracy"], report["softmax_ensemble"]["accuracy"]
        print(f"{name}: parents {single}; plain average {average:.1%}; softmax ensemble {ensemble:.1%}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
