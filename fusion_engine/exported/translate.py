"""What torch.export.save writes about a graph, translated into the program of `network.py`.

The file's text is data here: names of values become numbers, and what is not needed (stack traces, guards, ranges,
symbolic expressions, calling conventions) is never looked at.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from ..core.errors import ParentError, UnsafeFileError
from .tensors import TensorRecord

# torch._export.serde.schema.ScalarType, Layout and MemoryFormat.
DTYPES: Final = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}
_MEMORY_FORMATS: Final = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
_INT64, _FLOAT32, _STRIDED = 5, 7, 7
# Checks of sizes that the exported code made: they have no result.
_CHECKS: Final = frozenset(f"torch.ops.aten.{name}.default" for name in (
    "_assert_scalar", "_assert_tensor_metadata", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size",
))
# Code under no_grad or autocast: a graph of its own, which computes the same (but for autocast's rounding).
_WRAPPERS: Final = frozenset(
    f"torch.ops.higher_order.{name}" for name in ("wrap_with_set_grad_enabled", "wrap_with_autocast")
)
_PLAIN: Final = frozenset(["as_int", "as_ints", "as_string", "as_bool", "as_bools", "as_int_lists"])
_SYMBOL: Final = re.compile(r"Symbol\('[a-z]\w*'(, [a-z]+=True)*\)|[a-z]\w*", re.ASCII)
_WORDS: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PATH: Final = re.compile(r"\w[\w-]*(\.\w[\w-]*)*", re.ASCII)
_KINDS: Final = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the archive: its values, whether it is a parameter, and the stored bytes it is a view of."""

    value: Tensor
    parameter: bool
    record: TensorRecord


def read_graph(
    module: Mapping[str, Any], weights: Mapping[str, StoredTensor], constants: Mapping[str, StoredTensor]
) -> dict[str, Any]:
    """{"input_shape", "inputs", "program"}, what `read_exported` takes, from a file's "graph_module". Raises
    ParentError with one line, or KeyError, TypeError, ValueError or AttributeError where the file is damaged."""
    graph, signature = module["graph"], module["signature"]
    references, example = _inputs(signature["input_specs"], weights, constants)
    used = {reference["tensor"] for reference in references.values()}
    shape = _input_shape(example, graph["tensor_values"][example])
    references[example] = {"value": 0}
    values = _Values(references)
    steps = values.steps(graph["nodes"])
    kept = [_constant(name, c.value) for name, c in constants.items() if name in used and name not in weights]
    output = _output(signature["output_specs"], values)
    program = {"tensors": _owned(weights), "constants": kept, "steps": steps, "output": output}
    tokens = graph["tensor_values"][example]["dtype"] == _INT64
    return {"input_shape": shape, "inputs": [example] if tokens else [], "program": program}


def _inputs(
    specs: Any, weights: Mapping[str, StoredTensor], constants: Mapping[str, StoredTensor]
) -> tuple[dict[str, Any], str]:
    """Name in the graph -> reference for every tensor of the network, and the name of the network's one input."""
    references: dict[str, Any] = {}
    examples = []
    for spec in specs:
        ((kind, entry),) = spec.items()
        if kind == "user_input":
            examples.append(entry["arg"].get("as_tensor", {}).get("name"))
        elif kind in _KINDS:
            name = entry[_KINDS[kind]]
            if name not in weights and name not in constants:
                raise ParentError(f"the numbers of tensor {name!r:.80} are missing from the file")
            references[entry["arg"]["name"]] = {"tensor": name}
        else:
            raise ParentError("the program takes something other than tensors; export it with one tensor as its input")
    if len(examples) != 1 or not isinstance(examples[0], str):
        raise ParentError(f"the program takes {len(examples)} inputs; export it with one tensor as its input")
    return references, examples[0]


def _input_shape(name: str, meta: Any) -> list[int]:
    """Shape of one sample. The first dimension must be free; other free ones get their size in the example."""
    if meta["dtype"] not in (_FLOAT32, _INT64):
        raise ParentError(
            "the program's input is not float32, nor int64 as token ids are; export it with model.float() and a "
            "float32 example"
        )
    sizes = meta["sizes"]
    if sizes and "as_int" in sizes[0]:
        argument = name if _WORDS.fullmatch(name) else "x"
        raise ParentError(
            f"the export fixed the batch size to that of its example ({int(sizes[0]['as_int'])}); export again with "
            f"dynamic_shapes={{'{argument}': {{0: torch.export.Dim('batch')}}}}"
        )
    shape = []
    for size in sizes:
        if "as_int" in size:
            shape.append(size["as_int"])
            continue
        expression = size["as_expr"]
        if _SYMBOL.fullmatch(expression["expr_str"]) is None:
            raise UnsafeFileError("a size of the program's input is an expression; only plain symbols are read")
        shape.append((expression.get("hint") or {}).get("as_int"))
    if len(shape) < 2:
        raise ParentError("the program's input must have a batch dimension and at least one more")
    return shape[1:]


def _owned(weights: Mapping[str, StoredTensor]) -> list[dict[str, Any]]:
    """The state dict's tensors; names of one stored tensor are tied."""
    entries: dict[Any, dict[str, Any]] = {}
    for name, stored in weights.items():
        entry = {"names": [], "parameter": stored.parameter, **_described(stored.value)}
        entries.setdefault((stored.record, stored.parameter), entry)["names"].append(name)
    return list(entries.values())


def _constant(name: str, value: Tensor) -> dict[str, Any]:
    value = value.to(torch.float32) if value.is_floating_point() else value
    data = base64.b64encode(value.contiguous().numpy().tobytes()).decode()
    return {"name": name, **_described(value), "data": data}


def _described(value: Tensor) -> dict[str, Any]:
    dtype = torch.float32 if value.is_floating_point() else value.dtype
    return {"dtype": str(dtype).removeprefix("torch."), "shape": list(value.shape)}


def _output(specs: Any, values: _Values) -> int:
    if any("user_output" not in spec for spec in specs):
        raise ParentError("the program changes tensors of the model; call model.eval() and export it again")
    if len(specs) != 1:
        raise ParentError(f"the program has {len(specs)} outputs; export a model that returns the logits alone")
    reference = values.reference(specs[0]["user_output"]["arg"]["as_tensor"]["name"])
    if "value" not in reference:
        raise ParentError("the program returns one of its own tensors, not logits")
    return int(reference["value"])


class _Values:
    """Numbers the results of the steps in order, and translates arguments that refer to them by name."""

    def __init__(self, references: Mapping[str, Any]) -> None:
        self._references = dict(references)
        self._count = 1

    def reference(self, name: Any) -> Any:
        """What an argument that is called `name` refers to."""
        if name not in self._references:
            raise ParentError("the program uses a value before it is computed")
        return self._references[name]

    def steps(self, nodes: Any) -> list[dict[str, Any]]:
        """The nodes of a graph as entries of the program's steps, in order."""
        found: list[dict[str, Any]] = []
        for node in nodes:
            if node["target"] in _WRAPPERS:
                found += self._inlined(node)
            elif node["target"] not in _CHECKS:
                found.append(self._step(node))
        return found

    def _inlined(self, node: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The steps of a graph inside the program, which knows its own inputs alone."""
        given = [argument["arg"] for argument in node["inputs"]]
        at = next(i for i, argument in enumerate(given) if "as_graph" in argument)
        body, outside = given[at]["as_graph"]["graph"], self._references
        names = [_result_name(entry) for entry in body["inputs"]]
        self._references = dict(zip(names, map(self._argument, given[at + 1 :]), strict=True))
        steps = self.steps(body["nodes"])
        results = [self._argument(entry) for entry in body["outputs"]]
        self._references = outside
        for name, result in zip(_result_names(node["outputs"]), results, strict=True):
            self._record(name, result)
        return steps

    def _record(self, name: str | None, value: Any) -> None:
        if name in self._references:
            raise ParentError("the program computes a value twice")
        if name is not None:
            self._references[name] = value

    def _step(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """One node as an entry of the program's steps; its results get the next numbers."""
        positional, keywords = [], {}
        for argument in node["inputs"]:
            if argument.get("kind") == 2:
                keywords[argument["name"]] = self._argument(argument["arg"])
            else:
                positional.append(self._argument(argument["arg"]))
        names = _result_names(node["outputs"])
        for name in names:
            self._record(name, {"value": self._count})
            self._count += 1
        returns = len(names) if _is_list(node["outputs"]) or len(names) != 1 else None
        return {
            "op": node["target"], "args": positional, "kwargs": keywords, "returns": returns, "module": _module(node),
        }

    def _argument(self, argument: Mapping[str, Any]) -> Any:
        """One argument from torch's tagged form to the program's."""
        ((kind, value),) = argument.items()
        if kind in _PLAIN:
            return value
        match kind:
            case "as_none":
                return None
            case "as_float":
                return float(value)  # infinities are written as text
            case "as_floats":
                return [float(v) for v in value]
            case "as_tensor":
                return self.reference(value["name"])
            case "as_name":
                return self.reference(value)
            case "as_tensors":
                return [self.reference(v["name"]) for v in value]
            case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
                return self._argument(value)
            case "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
                return [self._argument(v) for v in value]
            case "as_scalar_type" if value in DTYPES:
                return {"dtype": DTYPES[value]}
            case "as_memory_format" if value in _MEMORY_FORMATS:
                return {"memory_format": _MEMORY_FORMATS[value]}
            case "as_layout" if value == _STRIDED:
                return {"layout": "strided"}
            case "as_device":
                return {"device": "cpu"}  # parents live on the CPU, wherever they were exported
            case _:
                raise ParentError("an argument in the program is of a kind that is not read")


def _is_list(outputs: Any) -> bool:
    return len(outputs) == 1 and "as_tensors" in outputs[0]


def _result_names(outputs: Any) -> list[str | None]:
    """The names of a node's results, be they several or one list."""
    return [t["name"] for t in outputs[0]["as_tensors"]] if _is_list(outputs) else [_result_name(o) for o in outputs]


def _result_name(output: Mapping[str, Any]) -> str | None:
    ((kind, value),) = output.items()
    if kind == "as_none":
        return None
    name = value["name"] if kind == "as_tensor" else value["as_name"]
    if not isinstance(name, str):
        raise ParentError("a result in the program has no name")
    return name


def _module(node: Mapping[str, Any]) -> str:
    """Path of the innermost module that made the call: the stack is 'key,path,type;key,path,type'."""
    stack = node.get("metadata", {}).get("nn_module_stack", "")
    parts = stack.rpartition(";")[2].split(",")
    path = parts[1].partition("@")[0] if len(parts) > 2 else ""
    return path if _PATH.fullmatch(path) else ""
