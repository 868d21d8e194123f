"""Networks out of a library's registry: their config, and the grammar of their specs."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...core.errors import UnsafeFileError, UnsupportedModelError
from ..settings import library_of

_SETTING: Final = re.compile(r"([a-z]\w*)=([\w.x-]+)", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?", re.ASCII)
_SHAPE: Final = re.compile(r"\d+(x\d+)+", re.ASCII)
_DEEPEST: Final = 6
_MOST_VALUES: Final = 5000
_LONGEST: Final = 300
_LARGEST: Final = 2**24  # words, positions; a table that long is still made in a second
_INPUT: Final = "input"


@dataclass(frozen=True)
class LibraryConfig:
    """A network that a library builds from its name. Nothing of it is downloaded.

    name: the library, 'torchvision', 'timm' or 'hf'. model: its name there. settings: canonical JSON text of what the
    constructor is given; of Hugging Face networks, their config. input_shape: of one sample. inputs: names of token
    inputs, none for real-valued ones. several: whether it returns several outputs, of which the logits are taken.
    """

    name: str
    model: str
    settings: str = field(repr=False)
    input_shape: tuple[int, ...]
    classes: int
    inputs: tuple[str, ...] = ()
    several: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.model}"

    @property
    def spec(self) -> str:
        """What to give for --arch for a network like this one."""
        if self.name == "hf":
            return f"hf:{json.dumps({**self.values, 'architectures': [self.model]}, sort_keys=True)}"
        shape = "x".join(map(str, self.input_shape))
        text = {k: str(v).lower() if isinstance(v, bool) else _shown(v) for k, v in self.values.items()}
        return f"{self}:" + ",".join(f"{key}={value}" for key, value in {**text, _INPUT: shape}.items())

    @property
    def values(self) -> dict[str, Any]:
        """The settings by name."""
        return dict(json.loads(self.settings))

    def as_json(self) -> dict[str, Any]:
        """Plain values from which `read_config` makes an equal config."""
        tokens = {"inputs": list(self.inputs)} if self.inputs else {}
        return {
            "model": self.model, "settings": self.values, "input_shape": list(self.input_shape),
            "classes": self.classes, "several": self.several, **tokens,
        }  # fmt: skip


def canonical(values: Mapping[str, Any]) -> str:
    """Settings as the text that a config keeps: equal settings give equal texts."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def read_config(values: Mapping[str, Any]) -> LibraryConfig:
    """A config from `as_json`'s values, of which nothing is trusted but that the library knows the name. KeyError,
    TypeError or ValueError if they are not such, UnsafeFileError for more than any network has."""
    settings, inputs = values["settings"], values.get("inputs", [])
    if not isinstance(settings, dict) or not isinstance(inputs, list) or not isinstance(values["model"], str):
        raise TypeError("not a library's network")
    check_plain(settings)
    shape, classes = tuple(values["input_shape"]), values["classes"]
    if not 0 < len(shape) < 6 or not all(type(n) is int and 0 < n < 2**24 for n in (*shape, classes)):
        raise ValueError("not an input's shape")
    names = tuple(str(name)[:_LONGEST] for name in inputs)
    if len(names) > 1 and shape[0] != len(names):
        raise ValueError("not the inputs of this shape")
    return LibraryConfig(
        str(values["name"]), values["model"], canonical(settings), shape, classes, names, values.get("several") is True
    )


def check_plain(values: Any, depth: int = 0) -> int:
    """The number of plain values in nested mappings and lists; UnsafeFileError beyond any network's config."""
    if isinstance(values, Mapping | list):
        if depth > _DEEPEST:
            raise UnsafeFileError("the network's config is nested too deeply")
        parts = [*values.values(), *values] if isinstance(values, Mapping) else values
        count = sum(check_plain(part, depth + 1) for part in parts)
        if count > _MOST_VALUES:
            raise UnsafeFileError(f"the network's config has more than {_MOST_VALUES:,} values")
        return count
    fine = values is None or isinstance(values, bool | int | float | str)
    long = isinstance(values, str) and len(values) > _LONGEST
    large = isinstance(values, int) and abs(values) > _LARGEST
    if not fine or long or large:
        raise UnsafeFileError("the network's config holds values that no network has")
    return 1


def split_library_spec(spec: str) -> tuple[str, str, dict[str, Any], tuple[int, ...] | None]:
    """Library, model, settings and shape of the input of a spec such as 'torchvision:resnet50:num_classes=10,
    input=3x64x64'; of 'hf:...', what follows is the model. UnsupportedModelError in one line for any other."""
    origin = library_of(spec)
    rest = spec.partition(":")[2]
    if origin == "hf":
        return "hf", rest, {}, None
    model, _, listed = rest.partition(":")
    settings: dict[str, Any] = {}
    for part in filter(None, listed.split(",")):
        matched = _SETTING.fullmatch(part)
        if matched is None:
            raise UnsupportedModelError(
                f"--arch {spec}: {part!r} is no setting; write {origin}:NAME:num_classes=10,input=3x64x64"
            )
        settings[matched[1]] = _value(matched[2])
    shape = settings.pop(_INPUT, None)
    if shape is not None and not isinstance(shape, list | int):
        raise UnsupportedModelError(f"--arch {spec}: the input's shape is written like input=3x64x64")
    return str(origin), model, settings, None if shape is None else tuple(shape if isinstance(shape, list) else [shape])


def _value(text: str) -> Any:
    """True, false, a number, several joined by x, or a word."""
    if text in ("true", "false"):
        return text == "true"
    if _NUMBER.fullmatch(text):
        return float(text) if "." in text or "e" in text else int(text)
    return [int(n) for n in text.split("x")] if _SHAPE.fullmatch(text) else text


def _shown(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
