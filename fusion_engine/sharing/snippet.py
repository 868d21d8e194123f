"""A fusion as a piece of Python that repeats it, for a notebook."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .. import __version__
from ..core.recipe import Recipe


def snippet(
    arguments: Mapping[str, Any], recipe: Mapping[str, Any], parents: Sequence[str], data: str, test: str | None = None,
    base: str | None = None,
) -> str:
    """Python that fuses to the same weights as a fuse job with these arguments.

    recipe: a Recipe's mapping, edits included. parents, data, test, base: what the files are called, or a built-in
    data set's name.
    """
    seed, samples = arguments.get("seed") or 0, arguments.get("samples")
    options = [f"seed={seed}"]
    lines = [
        f"# Fuses to the same weights as in Neuron Fusion Lab {__version__}, to the bit on a machine of the same kind.",
        "from fusion_engine import Recipe, fuse, load_data, load_parents",
        *(["from fusion_engine.jobs.inputs import draw_samples"] if samples else []),
        "",
        f"parents = load_parents([{', '.join(map(_quoted, parents))}])",
        f"data = load_data({_quoted(data)}, y_required=False)",
        *([f"data = draw_samples(data, {int(samples)}, {seed})"] if samples else []),
    ]
    if test is not None:
        lines.append(f"test = load_data({_quoted(test)})")
        options.append("test=test")
    if base is not None:
        options.append(f"base={_quoted(base)}")
    if arguments.get("device") not in (None, "cpu"):
        options.append(f"device={_quoted(arguments['device'])}")
    text = Recipe.from_mapping(recipe).to_yaml()
    lines += ["recipe = Recipe.from_yaml("]
    lines += [*(f"    {_quoted(line)}" for line in text.splitlines(keepends=True)), ")", ""]
    lines.append(f"result = fuse(parents, data, recipe, {', '.join(options)})")
    if test is not None:
        lines.append('print(result.report["fused"])')
    lines.append('result.save("fused")  # fused.safetensors, recipe.yaml, report.json, groupings.npz')
    return "\n".join(lines) + "\n"


def notebook(text: str) -> str:
    """The same as a Jupyter notebook (nbformat 4.5) of one cell."""
    cell: dict[str, Any] = {
        "cell_type": "code", "id": "fusion", "execution_count": None, "metadata": {}, "outputs": [],
        "source": text.splitlines(keepends=True),
    }  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps({"cells": [cell], **about}, indent=1)


def _quoted(text: object) -> str:
    """Text as Python writes it, whatever is in it."""
    return json.dumps(str(text), ensure_ascii=True)
