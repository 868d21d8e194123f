"""Damaged .pt2 files and those that claim too much: one line, whatever is wrong with them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_files import export, graph, refused, rewrite, trained, weights_config

from fusion_engine.core.errors import FusionError, ParentError, UnsafeFileError
from fusion_engine.parents import load_parent


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("damaged") / "net.pt2", trained(0))


# ---- sizes


def sizes(*numbers: int) -> list[dict[str, int]]:
    return [{"as_int": n} for n in numbers]


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"sizes": sizes(10**6, 10**6, 3, 3)}, "more memory"),
        ({"sizes": sizes(10**30, 1, 3, 3)}, "more memory"),
        ({"sizes": sizes(10**5, 10**5, 3, 3), "strides": sizes(0, 0, 0, 0)}, "more memory"),
        ({"sizes": sizes(7, 1, 3, 3)}, "outside its storage"),
        ({"storage_offset": {"as_int": 1}}, "outside its storage"),
        ({"storage_offset": {"as_int": -1}}, "damaged"),
        ({"sizes": sizes(-6, 1, 3, 3)}, "damaged"),
        ({"sizes": [{"as_expr": {"expr_str": "1+1"}}]}, "damaged"),
        ({"strides": sizes(9, 9)}, "damaged"),
        ({"dtype": 10}, "type"),
        ({"dtype": 8}, "outside its storage"),
    ],
    ids=str,
)
def test_lying_weights(honest: Path, tmp_path: Path, meta: dict[str, Any], message: str) -> None:
    config = weights_config(honest, lambda c: c["stem.weight"]["tensor_meta"].update(meta))
    refused(rewrite(honest, tmp_path / "a.pt2", model_weights_config_json=config), message, ParentError)


def insert(op: str, *arguments: dict[str, Any], several: int = 0) -> Callable[[dict[str, Any]], None]:
    names = [{"name": f"new_{i}"} for i in range(several)]
    node = {
        "target": op,
        "inputs": [{"name": "", "arg": a, "kind": 1} for a in arguments],
        "outputs": [{"as_tensors": names} if several else {"as_tensor": {"name": "new"}}],
        "metadata": {},
    }
    return lambda model: graph(model)["nodes"].insert(0, node)


X = {"as_tensor": {"name": "x"}}
BOMBS = {
    "zeros": insert("torch.ops.aten.zeros.default", {"as_ints": [10**7, 10**7]}),
    "arange": insert("torch.ops.aten.arange.default", {"as_int": 10**12}),
    "repeat": insert("torch.ops.aten.repeat.default", X, {"as_ints": [10**4, 10**4, 10**3, 1]}),
    "too large for a size": insert("torch.ops.aten.zeros.default", {"as_ints": [10**40]}),
    "pieces": lambda model: (
        insert("torch.ops.aten.unbind.int", {"as_tensor": {"name": "new"}}, several=1)(model),
        insert("torch.ops.aten.zeros.default", {"as_ints": [10**7]})(model),
    ),
    "steps": lambda model: graph(model).update(nodes=graph(model)["nodes"][:1] * 30_000),
    "wide input": lambda model: graph(model)["tensor_values"]["x"].update(
        sizes=[graph(model)["tensor_values"]["x"]["sizes"][0], *sizes(1, 10**6, 10**6)]
    ),
}


@pytest.mark.parametrize("case", BOMBS)
def test_programs_that_ask_for_too_much(honest: Path, tmp_path: Path, case: str) -> None:
    refused(rewrite(honest, tmp_path / "a.pt2", BOMBS[case]))


def test_constants_are_limited(honest: Path, tmp_path: Path) -> None:
    class Large(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.ones(1000, 1200)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.table

    refused(export(tmp_path / "a.pt2", Large().eval(), (1000,)), "register large constants as buffers")


# ---- archives


def test_archives_that_are_bombs_or_escape(honest: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", b"{" + b" " * 10**7)
    with pytest.raises(UnsafeFileError, match="unpacks to"):
        load_parent(path, limit=10**6)
    for name in ("../m/models/model.json", "/m/models/model.json", "C:/models/model.json"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"{}")
        refused(path, "leaves its folder", UnsafeFileError)


def test_damaged_descriptions(honest: Path, tmp_path: Path) -> None:
    for raw in (b"", b"[]", b"{}", b"null", b"[" * 200_000, b'{"schema_version": {"major": 8}, "graph_module": 3}'):
        with zipfile.ZipFile(tmp_path / "a.pt2", "w") as archive:
            archive.writestr("m/models/model.json", raw)
            archive.writestr("m/data/weights/model_weights_config.json", b'{"config": {}}')
        refused(tmp_path / "a.pt2", "", ParentError)
    refused(rewrite(honest, tmp_path / "a.pt2", lambda m: m["schema_version"].update(major=9)), "version 9")
    refused(rewrite(honest, tmp_path / "a.pt2", model_weights_config_json=None), "a pickle by an older torch")
    refused(rewrite(honest, tmp_path / "a.pt2", weight_1=None), "damaged")
    refused(rewrite(honest, tmp_path / "a.pt2", byteorder=b"big"), "big-endian")


def test_flipped_values_never_escape_the_error_tree(honest: Path, tmp_path: Path) -> None:
    """Random leaves of the description become something else."""
    generator = np.random.default_rng(0)
    strange = [None, -1, 10**25, 1.5, "x", [], {}, True, {"as_int": 3}, [[[[[[1]]]]]]]

    def spoil(value: Any) -> None:
        for _ in range(20):
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))
            if not keys:
                return
            key = keys[generator.integers(len(keys))]
            if isinstance(value[key], dict | list) and generator.random() > 0.05:
                value = value[key]
                continue
            value[key] = strange[generator.integers(len(strange))]
            return

    for _ in range(120):
        path = rewrite(honest, tmp_path / "a.pt2", lambda model: spoil(model["graph_module"]))
        try:
            load_parent(path)
        except FusionError as problem:
            assert "\n" not in str(problem)  # noqa: PT017
