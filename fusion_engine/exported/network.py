"""Exported programs as architectures: a network whose forward is a list of checked steps, built from plain values."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from ..architectures import Architecture, register
from ..core.errors import UnsafeFileError, UnsupportedModelError
from .steps import DTYPES, Step, execute, read_name, read_steps

_MAX_PROGRAM = 2**22
_MAX_TENSORS = 100_000
_MAX_ELEMENTS = 2**30
_MAX_SIZE = 2**24
_MAX_PIECES = 2**17
_MAX_INPUTS = 8
_PROBE_BATCH: Final = 3


@dataclass(frozen=True)
class ExportedConfig:
    """program: canonical JSON text of the program (see `read_exported`); equal programs compute the same. inputs: names
    of its token inputs, none for real-valued ones; of several the program takes x (n, inputs, T)."""

    input_shape: tuple[int, ...]
    classes: int
    program: str = field(repr=False)
    name: str = "exported"
    inputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"exported program {hashlib.sha256(self.program.encode()).hexdigest()[:8]}"

    def as_json(self) -> dict[str, Any]:
        """Plain values from which `read_exported` makes an equal config."""
        tokens = {"inputs": list(self.inputs)} if self.inputs else {}
        shape, program = list(self.input_shape), json.loads(self.program)
        return {"input_shape": shape, "classes": self.classes, "program": program, **tokens}


def read_exported(values: Mapping[str, Any]) -> ExportedConfig:
    """A config from {"input_shape", "program"} and maybe "inputs", of which nothing is trusted.

    program: {"tensors": [{"names" (several where tied), "parameter", "dtype", "shape"}], "constants": [{"name",
    "dtype", "shape", "data" (base64)}], "steps" (see `read_steps`), "output": number of a result}. It is tried on
    tensors that have sizes and no contents, which gives the number of classes. Raises UnsupportedModelError or
    UnsafeFileError with one line that lacks the file's name.
    """
    text = json.dumps(values["program"], sort_keys=True, separators=(",", ":"))
    if len(text) > _MAX_PROGRAM:
        raise UnsafeFileError(
            f"the program and its constants are larger than {_MAX_PROGRAM // 2**20} MiB; register large constants as "
            "buffers, which are saved with the weights"
        )
    shape, inputs = _shape(values["input_shape"]), values.get("inputs", [])
    if not isinstance(inputs, list) or len(inputs) > _MAX_INPUTS or (len(inputs) > 1 and len(inputs) != shape[0]):
        raise UnsupportedModelError("the program's inputs are not named as they should be")
    tokens = tuple(read_name(name) for name in inputs)
    try:
        with torch.device("meta"):
            network = ExportedNetwork(json.loads(text))
        classes = _try(network, shape, bool(tokens))
    except (UnsupportedModelError, UnsafeFileError):
        raise
    except RecursionError as problem:
        raise UnsafeFileError("the program is nested too deeply") from problem
    except Exception as problem:  # operators raise nearly anything for arguments that do not fit them
        line = (str(problem).strip() or type(problem).__name__).splitlines()[0][:160]
        reason = "".join(letter for letter in line if letter.isprintable())
        raise UnsupportedModelError(f"the exported program is damaged or cannot be carried out ({reason})") from problem
    return ExportedConfig(shape, classes, text, inputs=tokens)


def build_exported(config: ExportedConfig) -> nn.Module:
    """The network of a config; its constants are there, its weights are not filled in."""
    return ExportedNetwork(json.loads(config.program))


class _Part(nn.Module):
    """A module of the exported network: it owns its tensors, and makes the calls that it made there."""

    def forward(self, step: Step, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        return step.call(*arguments, **keywords)


class ExportedNetwork(nn.Module):
    """Parameters and buffers under their original names; forward carries out the program's steps.

    Calls go through the modules that made them, so that a trace names them as in the original network. Tensors that
    the program holds outside its state dict are buffers that are not saved.
    """

    def __init__(self, program: Mapping[str, Any]) -> None:
        super().__init__()
        names: list[str] = []
        total = 0
        for entry in program["tensors"]:
            shape = _shape(entry["shape"], empty=True)
            total += math.prod(shape)
            if total > _MAX_ELEMENTS or len(names) > _MAX_TENSORS:
                raise UnsafeFileError("the program claims more memory for its tensors than allowed")
            tensor = torch.empty(shape, dtype=DTYPES[entry["dtype"]])
            owned = nn.Parameter(tensor, requires_grad=False) if entry["parameter"] is True else tensor
            for name in entry["names"]:
                _own(self, name, owned, persistent=True)
                names.append(name)
        for entry in program["constants"]:
            _own(self, entry["name"], _constant(entry), persistent=False)
            names.append(entry["name"])
        self._exported_names = tuple(names)
        self._exported_output = program["output"]
        self._exported_steps = read_steps(program["steps"], frozenset(names), program["output"])
        for path in sorted({step.module for step in self._exported_steps}):
            _part(self, path)

    def forward(self, x: Tensor) -> Any:
        """x (batch, *input_shape) -> logits (batch, classes), of tokens maybe (batch, T, classes)."""

        def invoke(step: Step, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
            if not step.module:
                return step.call(*arguments, **keywords)
            return self.get_submodule(step.module)(step, arguments, keywords)

        return execute(self._exported_steps, _tensors(self), x, self._exported_output, invoke)


def _part(root: nn.Module, path: str) -> nn.Module:
    """The module at a path, made with all modules on the way where it is missing."""
    for word in path.split(".") if path else ():
        if word not in root._modules:
            root.add_module(word, _Part())  # KeyError for a name that modules use themselves
        root = root.get_submodule(word)
    return root


def _own(root: nn.Module, name: Any, tensor: Tensor, persistent: bool) -> None:
    path, _, word = read_name(name).rpartition(".")
    owner = _part(root, path)
    if word in owner._parameters or word in owner._buffers:
        raise UnsupportedModelError(f"the program names two of its tensors {name}")
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(word, tensor)
    else:
        owner.register_buffer(word, tensor, persistent=persistent)


def _tensors(network: ExportedNetwork) -> dict[str, Tensor]:
    """Name -> parameter, buffer or constant."""
    places = {name: name.rpartition(".") for name in network._exported_names}
    return {name: getattr(network.get_submodule(path), word) for name, (path, _, word) in places.items()}


def _constant(entry: Mapping[str, Any]) -> Tensor:
    shape, dtype = _shape(entry["shape"], empty=True), DTYPES[entry["dtype"]]
    raw = base64.b64decode(entry["data"], validate=True)
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise UnsupportedModelError(f"the constant {read_name(entry['name'])} is cut short")
    if not raw:
        return torch.empty(shape, dtype=dtype, device="cpu")
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def _shape(value: Any, empty: bool = False) -> tuple[int, ...]:
    """Sizes from a file; `empty` allows zero sizes and tensors without dimensions."""
    valid = isinstance(value, list | tuple) and len(value) <= 16 and (empty or len(value) > 0)
    if not valid or not all(type(n) is int and (0 if empty else 1) <= n <= _MAX_SIZE for n in value):
        raise UnsafeFileError("the program has a tensor whose size is not plausible")
    return tuple(value)


def _try(network: ExportedNetwork, input_shape: tuple[int, ...], tokens: bool) -> int:
    """Carry the program out on tensors without contents; the number of classes. Nothing of the size the program asks
    for is allocated, whatever that is."""
    made = 0

    def invoke(step: Step, arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        nonlocal made
        _check_call(step, arguments)
        result = step.call(*arguments, **keywords)
        for part in result if isinstance(result, list | tuple) else [result]:
            made += part.numel() if isinstance(part, Tensor) else 1
            if made > _MAX_ELEMENTS or (isinstance(part, int) and abs(part) > _MAX_ELEMENTS):
                raise UnsafeFileError("the program asks for more memory than allowed")
        return result

    with torch.no_grad(), FakeTensorMode():
        known = {name: torch.empty(t.shape, dtype=t.dtype) for name, t in _tensors(network).items()}
        x = torch.empty(_PROBE_BATCH, *input_shape, dtype=torch.int64 if tokens else torch.float32)
        output = execute(network._exported_steps, known, x, network._exported_output, invoke)
        changed = next((name for name, tensor in {**known, "its input": x}.items() if tensor._version), None)
    if changed is not None:
        raise UnsupportedModelError(
            f"the program changes {changed} in place; call model.eval() before exporting, and change no tensor of the "
            "model in forward"
        )
    sizes = (2, 3) if tokens else (2,)
    if not isinstance(output, Tensor) or output.ndim not in sizes or len(output) != _PROBE_BATCH or 0 in output.shape:
        also = " or (samples, positions, classes)" if tokens else ""
        raise UnsupportedModelError(f"the program must return logits of shape (samples, classes){also}")
    return int(output.shape[-1])


def _check_call(step: Step, arguments: tuple[Any, ...]) -> None:
    """Refuse calls that would make enormous lists before their results could be measured."""
    if not isinstance(step.call, torch._ops.OpOverload):
        if not all(isinstance(value, bool | int | float) for value in arguments):
            raise UnsupportedModelError("the program calculates with something other than sizes")
        return
    returns = step.call._schema.returns
    longest = max((n for t in arguments if isinstance(t, Tensor) for n in t.shape), default=0)
    if longest > _MAX_PIECES and any(isinstance(r.type, torch.ListType) for r in returns):
        raise UnsafeFileError("the program asks for more memory than allowed")


register(Architecture("exported", build_exported, None, read_exported))
