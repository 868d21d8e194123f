"""Crafted .pt2 files: refused in one line, or read as data; nothing in them is ever carried out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exported_files import export, graph, refused, rewrite, trained, weights_config

from fusion_engine.core.errors import FusionError, UnsafeFileError, UnsupportedModelError
from fusion_engine.exported import read_exported
from fusion_engine.graph import trace
from fusion_engine.parents import load_parent, save_parent, write_state
from tests.parents.parent_files import Caller, pickled


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("hostile") / "net.pt2", trained(0))


# ---- operators

FOREIGN = [
    "os.system", "builtins.eval", "torch.load", "torch.hub.load", "torch.save", "_operator.attrgetter",
    "_operator.methodcaller", "_operator.pow", "_operator.lshift", "_operator.concat", "_operator.mul.__call__",
    "torch.ops.aten.from_file.default", "torch.ops.aten.set_.source_Storage", "torch.ops.aten.resize_.default",
    "torch.ops.aten.as_strided.default", "torch.ops.aten.empty.memory_format", "torch.ops.aten.rand.default",
    "torch.ops.aten.relu.__class__", "torch.ops.aten.relu._schema", "torch.ops.aten.__dict__.default",
    "torch.ops.aten.relu.out", "torch.ops.aten.t_.default", "torch.ops.aten.normal.Tensor_float",
    "torch.ops.prim.device.default", "torch.ops.higher_order.cond", "torch.ops.quantized.linear.default",
    "torch.ops.load_library", "torch.ops.aten.relu.default\n", "torch.ops.aten.relu.default; import os",
    "#extension:thing", "math.trunc", "", "torch.ops.aten.r\u0435lu.default", 7, None, ["torch.load"],
]  # fmt: skip


@pytest.mark.parametrize("target", FOREIGN, ids=str)
def test_foreign_operators_are_refused(honest: Path, tmp_path: Path, target: Any) -> None:
    def change(model: dict[str, Any]) -> None:
        next(n for n in graph(model)["nodes"] if "relu.default" in n["target"])["target"] = target

    refused(rewrite(honest, tmp_path / "a.pt2", change))


def test_sizes_are_the_only_thing_that_python_calculates_with(honest: Path, tmp_path: Path) -> None:
    for arguments in ([{"as_string": "a"}, {"as_int": 10**9}], [{"as_ints": [0]}, {"as_int": 10**9}]):
        node = {
            "target": "_operator.mul",
            "inputs": [{"name": "", "arg": a, "kind": 1} for a in arguments],
            "outputs": [{"as_sym_int": {"as_name": "bomb"}}],
            "metadata": {},
        }
        path = rewrite(honest, tmp_path / "a.pt2", lambda model, node=node: graph(model)["nodes"].insert(0, node))
        refused(path, "something other than sizes", UnsupportedModelError)


def test_tensors_of_the_network_are_never_changed(honest: Path, tmp_path: Path) -> None:
    for name in ("p_head_bias", "x"):
        node = {
            "target": "torch.ops.aten.add_.Scalar",
            "inputs": [
                {"name": "self", "arg": {"as_tensor": {"name": name}}, "kind": 1},
                {"name": "other", "arg": {"as_int": 1}, "kind": 1},
            ],
            "outputs": [{"as_tensor": {"name": "changed"}}],
            "metadata": {},
        }
        path = rewrite(honest, tmp_path / "a.pt2", lambda model, node=node: graph(model)["nodes"].insert(0, node))
        refused(path, "in place", UnsupportedModelError)


# ---- names and expressions that are code

CODE = "__import__('pathlib').Path({!r}).touch()"


def put_code_everywhere(value: Any, code: str, key: str = "") -> Any:
    """Code as every expression, module stack and stack trace of the graph."""
    if isinstance(value, dict):
        return {k: put_code_everywhere(v, code, k) for k, v in value.items()}
    if isinstance(value, list):
        return [put_code_everywhere(v, code, key) for v in value]
    unneeded = ("expr_str", "nn_module_stack", "stack_trace", "torch_fn")
    return code if isinstance(value, str) and key in unneeded else value


def test_code_in_what_is_not_needed_is_never_looked_at(honest: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    code = CODE.format(str(marker))

    def change(model: dict[str, Any]) -> None:
        sizes = graph(model)["tensor_values"]["x"]["sizes"]
        keep = json.loads(json.dumps(sizes))
        model["graph_module"] = put_code_everywhere(model["graph_module"], code)
        graph(model)["tensor_values"]["x"]["sizes"] = keep
        model["guards_code"] = [code]
        model["range_constraints"] = {code: {"min_val": 0, "max_val": None}}
        for entry in model["graph_module"]["module_call_graph"]:
            entry["fqn"] = code
            entry["signature"] = {"inputs": [], "outputs": [], "in_spec": code, "out_spec": code}

    hostile = pickled(Caller(exec, code))
    path = rewrite(honest, tmp_path / "a.pt2", change, model_pt=hostile)
    parent = load_parent(path)
    trace(parent.model, (parent.example_input(),))
    save_parent(tmp_path / "kept.safetensors", parent)
    assert "__import__" not in parent.architecture.program  # nor does any of it live on
    load_parent(tmp_path / "kept.safetensors")
    assert torch.equal(parent.model(parent.example_input()), load_parent(honest).model(parent.example_input()))
    assert not marker.exists()


def set_size(model: dict[str, Any], code: str) -> None:
    graph(model)["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = code


def rename_value(model: dict[str, Any], code: str) -> None:
    text = json.dumps(model["graph_module"]).replace('"p_stem_weight"', json.dumps(code))
    model["graph_module"] = json.loads(text)


def rename_operator(model: dict[str, Any], code: str) -> None:
    graph(model)["nodes"][0]["target"] = code


def name_argument(model: dict[str, Any], code: str) -> None:
    argument = graph(model)["nodes"][1]["inputs"][-1]
    argument["name"], argument["kind"] = code, 2


def give_string(model: dict[str, Any], code: str) -> None:
    graph(model)["nodes"][1]["inputs"][-1]["arg"] = {"as_string": code}


@pytest.mark.parametrize("change", [set_size, rename_operator, name_argument, give_string], ids=lambda f: f.__name__)
@pytest.mark.parametrize("code", [CODE, "Symbol(Symbol.__init__)", "Symbol('s0', positive={})"])
def test_code_where_data_belongs_is_refused(
    honest: Path, tmp_path: Path, change: Callable[[dict[str, Any], str], None], code: str
) -> None:
    marker = tmp_path / "marker"
    path = rewrite(honest, tmp_path / "a.pt2", lambda model: change(model, code.format(str(marker))))
    with pytest.raises(FusionError) as caught:
        load_parent(path)
    assert "\n" not in str(caught.value)
    assert not marker.exists()


def test_names_of_values_mean_nothing(honest: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = rewrite(honest, tmp_path / "a.pt2", lambda model: rename_value(model, CODE.format(str(marker))))
    assert load_parent(path).architecture == load_parent(honest).architecture
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["stem.we ight", "a.__class__", "forward", "x\ny", "stem..weight", "", "a(b)", "p" * 400]
)
def test_names_of_tensors_are_plain_words(honest: Path, tmp_path: Path, name: str) -> None:
    def change(model: dict[str, Any]) -> None:
        text = json.dumps(model["graph_module"]).replace('"stem.weight"', json.dumps(name))
        model["graph_module"] = json.loads(text)

    config = weights_config(honest, lambda c: c.update({name: c.pop("stem.weight")}))
    refused(rewrite(honest, tmp_path / "a.pt2", change, model_weights_config_json=config))


# ---- pickles


def test_pickles_are_never_read(honest: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hostile = pickled(Caller(exec, CODE.format(str(marker))))
    config = weights_config(honest, lambda c: c["stem.weight"].update(use_pickle=True))
    path = rewrite(honest, tmp_path / "a.pt2", weight_0=hostile, model_weights_config_json=config)
    refused(path, "'stem.weight' is stored as a pickle", UnsafeFileError)
    for place in ("custom_obj_0", "opaque_obj_0", "../weight_0", "../../models/model.json", "weight_0/../weight_1"):
        config = weights_config(honest, lambda c, place=place: c["stem.weight"].update(path_name=place))
        refused(rewrite(honest, tmp_path / "a.pt2", model_weights_config_json=config), "odd place", UnsafeFileError)
    assert not marker.exists()


# ---- the same program in a safetensors header


@pytest.mark.parametrize("op", ["torch.load", "os.system", "torch.ops.aten.from_file.default"])
def test_programs_in_headers_are_checked_as_well(honest: Path, tmp_path: Path, op: str) -> None:
    parent = load_parent(honest)
    described = {"name": "exported", **parent.architecture.as_json()}
    described["program"]["steps"][2]["op"] = op
    header = {"neuron_fusion_lab": json.dumps({"architecture": described})}
    write_state(tmp_path / "a.safetensors", parent.state, header)
    refused(tmp_path / "a.safetensors", "operator", UnsupportedModelError)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.update(output=0), lambda p: p.update(output=10**6), lambda p: p.update(steps=3),
        lambda p: p["steps"][0]["args"].append({"value": 10**6}), lambda p: p["steps"][0].update(returns=10**9),
        lambda p: p["steps"][0]["args"].append({"file": "/etc/passwd"}), lambda p: p.update(tensors=[]),
        lambda p: p["tensors"][0].update(shape=[10**9, 10**9]), lambda p: p["tensors"][0].update(dtype="object"),
        lambda p: p["constants"][0].update(data="!"), lambda p: p["constants"][0].update(data=""),
        lambda p: p["constants"].append(p["constants"][0]), lambda p: p["steps"][0].update(module="a b"),
        lambda p: p["steps"][0].update(module="stem.weight"), lambda p: p["tensors"].append(p["tensors"][0]),
    ],
)  # fmt: skip
def test_lying_programs(honest: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = load_parent(honest).architecture.as_json()
    change(values["program"])
    with pytest.raises((UnsupportedModelError, UnsafeFileError)) as caught:
        read_exported(values)
    assert "\n" not in str(caught.value)
