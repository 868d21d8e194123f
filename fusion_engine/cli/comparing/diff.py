"""diff: which layers of two networks differ, by weights and by features."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from fusion_engine import store
from fusion_engine.core.errors import StoreError

from ..options import add_options
from ..output import check_writable, progress_line, table, write_report

if TYPE_CHECKING:
    from fusion_engine.analysis.shapes import Difference
    from fusion_engine.parents import Parent

_NETWORK = "weights (a file or folder, as for the other commands), the folder of a fusion's run, or a run of the store"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", metavar="A", help=_NETWORK)
    parser.add_argument("second", metavar="B", help=_NETWORK)
    add_options(parser, "--arch", "--weights")
    parser.add_argument(
        "--data", metavar="FILE.npz", help="samples to compare features on; without them, weights alone are compared"
    )
    parser.add_argument(
        "--align", default="auto", metavar="GROUPING",
        help="pairs the neurons first: a grouping that pairs, none, or auto (default: balanced with --data, "
        "weight_matching without)",
    )
    parser.add_argument("--tensors", action="store_true", help="list every tensor, by its names in both files")
    parser.add_argument("--samples", type=int, metavar="N", help="draw N samples, balanced over classes (default: all)")
    add_options(parser, "--seed", "--device", "--report")


def run(arguments: argparse.Namespace) -> None:
    """Compare, print tables, write the report."""
    check_writable(arguments.report)
    from fusion_engine.analysis import difference
    from fusion_engine.data import load_data
    from fusion_engine.jobs.inputs import draw_samples

    data = None
    if arguments.data is not None:
        data = draw_samples(load_data(arguments.data, y_required=False), arguments.samples, arguments.seed)
    shape, tokens = (None, ()) if data is None else (data.input_shape, data.tokens)
    first, second = (_network(name, arguments, shape, tokens) for name in (arguments.first, arguments.second))
    with progress_line() as progress:
        found = difference(
            first, second, data, align=arguments.align, seed=arguments.seed, device=arguments.device,
            on_progress=progress,
        )  # fmt: skip
    write_report(arguments.report, found)
    print(summary(found, tensors=arguments.tensors))


def _network(
    name: str, arguments: argparse.Namespace, shape: tuple[int, ...] | None, tokens: tuple[str, ...]
) -> "Parent":
    from fusion_engine.jobs.fusions import network_of
    from fusion_engine.parents import load_parent

    path = Path(name)
    if not path.exists():
        try:
            found = store.named_run(name)
        except store.AmbiguousRunError:
            raise
        except StoreError:
            raise StoreError(f"{path.name}: there is no such file, and no such fusion in the store") from None
        return network_of(found)
    own = path / "fused.safetensors"
    return load_parent(
        own if own.is_file() else path, arguments.arch, input_shape=shape, tokens=tokens, weights=arguments.weights
    )


def summary(found: "Difference", tensors: bool = False) -> str:
    """The report as tables."""
    names = found["networks"]
    how = f"aligned by {found['align']}" if found["align"] else "not aligned"
    parts = [
        f"{names[1]} against {names[0]}: weights apart by {_number(found['as_is'])} as they are"
        + (f", {_number(found['aligned'])} {how}" if found["align"] else f" ({how})")
        + " (0 the same, 1 nothing in common)"
        + ("" if found["agreement"] is None else f"; they say the same of {found['agreement']:.1%} of the samples"),
    ]
    rows: list[tuple[object, ...]] = []
    for layer in found["layers"]:
        level = "-" if layer["level"] is None else layer["level"]
        rows.append((layer["name"], level, _number(layer["as_is"]), _number(layer["aligned"]), "", ""))
        if tensors:
            rows += [
                (f"  {tensor['name']}", "", _number(tensor["as_is"]), _number(tensor["aligned"]), *tensor["file"])
                for tensor in layer["tensors"]
            ]
    head = ("layer", "level", "as they are", "aligned", "in the first file", "in the second file")
    shown = head if tensors else head[:4]
    parts.append(table(shown, [row[: len(shown)] for row in rows]))
    if found["spaces"]:
        parts.append(f"features on {found['samples']:,} samples, 1 is alike\n" + table(
            ("space", "neurons", "CKA", "if unrelated", "neurons that alignment moved"),
            [(s["name"], " and ".join(map(str, dict.fromkeys(s["sizes"]))), f"{s['cka']:.3f}", f"{s['unrelated']:.3f}",
              "-" if s["moved"] is None else f"{s['moved']:.0%}") for s in found["spaces"]],
        ))
    parts.append("\n".join([f"compared in {found['seconds']:.1f} s", *(f"note: {line}" for line in found["notes"])]))
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
