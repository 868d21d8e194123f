"""Settings of a built-in architecture that weights do not tell, given in a spec: `vit:heads=4,norm=post`."""

import re
from collections.abc import Mapping
from typing import Any, Final

from ..core.errors import UnsupportedModelError
from ..core.registry import nearest
from .registry import Config, get, names

_SPEC: Final = re.compile(r"(\w+):(\w+=[^,=]+(?:,\w+=[^,=]+)*)", re.ASCII)
_NORM_ORDER: Final = {"pre": "true", "post": "false"}


LIBRARIES: Final = ("torchvision", "timm", "hf")
"""Optional libraries whose networks a spec may name."""


def library_of(spec: str) -> str | None:
    """The library that a spec such as 'torchvision:resnet50' or 'hf' names; None for any other."""
    name, colon, _ = spec.partition(":")
    return name if name in LIBRARIES and (colon or name == "hf") else None


def split_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Name and settings of a spec such as 'vit:heads=4'; any other spec is its own name and has no settings."""
    matched = _SPEC.fullmatch(spec)
    if matched is None or matched[1] not in names():
        return spec, {}
    settings = dict(part.split("=") for part in matched[2].split(","))
    if matched[1] == "vit" and settings.get("norm") in _NORM_ORDER:
        settings["norm_first"] = _NORM_ORDER[settings.pop("norm")]
    return matched[1], settings


def configured(config: Config, settings: Mapping[str, str]) -> Config:
    """`config` with settings in place of its own. UnsupportedModelError names a setting that it has not, or a value
    that it cannot have."""
    values = config.as_json()
    changed = dict(values)
    for key, text in settings.items():
        if key not in values:
            raise UnsupportedModelError(f"--arch {config.name}: there is no setting {key!r}{nearest(key, values)}")
        changed[key] = _value(f"--arch {config.name}: {key}", text, values[key])
    try:
        return get(config.name).read(changed)
    except ValueError:
        shown = ",".join(f"{key}={text}" for key, text in settings.items())
        raise UnsupportedModelError(f"--arch {config.name}:{shown}: these settings do not fit the network") from None


def _value(what: str, text: str, like: Any) -> Any:
    """The text of a setting as a value of the same type as `like`."""
    if isinstance(like, bool):
        if text not in ("true", "false"):
            raise UnsupportedModelError(f"{what}: {text!r} is neither true nor false")
        return text == "true"
    if isinstance(like, list):
        parts = [] if text == "none" else text.split("-")
        return [int(part) if part.isdecimal() else part for part in parts]
    kind = type(like)
    try:
        return kind(text)
    except ValueError:
        number = "a whole number" if kind is int else "a number"
        raise UnsupportedModelError(f"{what}: {text!r} is not {number}") from None
