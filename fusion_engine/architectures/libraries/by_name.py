"""The network of a file's tensors from a library that builds networks by name, for images: torchvision, timm."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ...core.errors import UnsupportedModelError
from ...core.registry import nearest
from ..fitting import fit, likely_names
from ..registry import Match
from .building import sketched
from .config import LibraryConfig, canonical
from .registry import Request
from .trying import tried_config

Make = Callable[[str, Mapping[str, Any]], nn.Module]
Sizes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ByName:
    """What such a library needs to be told and can be asked.

    make(model, settings): its network. names(): of its networks. told(model, names): settings that names of tensors
    tell. usual(model, module): shape of its usual input. classes, channels: the constructor's settings for their
    numbers; channels '' where it has none. sides(model): for the image's size, where a network is for one size.
    reserved: settings that are not the user's to give. words: those that may be words.
    """

    name: str
    make: Make
    names: Callable[[], Sequence[str]]
    told: Callable[[str, Sequence[str]], Mapping[str, Any]]
    usual: Callable[[str, nn.Module], tuple[int, ...]]
    assumed: Callable[[str, Mapping[str, Any]], Mapping[str, str]]
    classes: str = "num_classes"
    channels: str = ""
    sides: Callable[[str], Sequence[str]] = lambda model: ()
    reserved: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    def build(self, config: LibraryConfig) -> nn.Module:
        """The library's module of a config."""
        self.check(config.model, config.values)
        return self.make(config.model, config.values)

    def check(self, model: str, settings: Mapping[str, Any]) -> None:
        """UnsupportedModelError in one line unless the library has the network, and the settings may be set."""
        known = self.names()
        if model not in known:
            raise UnsupportedModelError(f"--arch {self.name}: it has no network {model!r}{nearest(model, known)}")
        for key, value in settings.items():
            if key in self.reserved or (isinstance(value, str) and key not in self.words):
                raise UnsupportedModelError(f"--arch {self.name}:{model}: {key} cannot be set to {value!r}")

    def match(self, request: Request) -> Match:
        """The network of a file's tensors: classes, channels and image size as in the file."""
        self.check(request.model, request.settings)
        settings = {**self.told(request.model, list(request.state)), **request.settings}
        settings = self._settled(request, settings)

        def make() -> nn.Module:
            return self.make(request.model, settings)

        sketch = sketched(request.spec, make)
        own = fit(request.spec, sketch, request.state)
        shape = request.input_shape or self._shape(request.model, sketch, settings)
        config = LibraryConfig(self.name, request.model, canonical(settings), tuple(shape), 1)
        config, assumed = tried_config(request.spec, config, sketch, make)
        if request.input_shape is None:
            shown = " x ".join(map(str, shape))
            line = f"inputs of {shown} assumed; give --arch {config}:input=3x64x64 for other samples"
            assumed["input_shape"] = line
        assumed = {**self.assumed(request.model, settings), **assumed}
        return Match(config, own.key_map, assumed, beside=own.beside, copies=own.copies, notes=own.notes)

    def _settled(self, request: Request, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with what the file's shapes tell: numbers of classes and channels, and the image's size."""

        def sizes(**more: Any) -> Sizes:
            module = sketched(request.spec, lambda: self.make(request.model, {**settings, **more}))
            return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}

        usual = sizes()
        names = likely_names(usual, request.state)
        given = {name: tuple(request.state[own].shape) for name, own in names.items()}
        for key in filter(None, (self.classes, self.channels)):
            if key not in settings:
                value = _solved(sizes, key, given)
                if value is not None:
                    settings[key] = value
        if not any(side in settings for side in self.sides(request.model)):
            settings |= self._sides(request, sizes, given)
        return settings

    def _sides(self, request: Request, sizes: Callable[..., Sizes], given: Sizes) -> dict[str, Any]:
        """The setting for the image's size that fits the file, if the network is for one size."""
        usual = sizes()
        sketch = sketched(request.spec, lambda: self.make(request.model, request.settings))
        side = self.usual(request.model, sketch)[-1]
        for key in self.sides(request.model):
            known = _attempt(sizes, {key: side})
            if known is None:
                continue
            wanted = [request.input_shape[1:]] if request.input_shape and len(request.input_shape) == 3 else []
            candidates = [*wanted, (side, side), *((n, n) for n in _guesses(side, usual, given))]
            for height, width in candidates:
                value: Any = height if height == width else [height, width]
                found = _attempt(sizes, {key: value})
                if found is not None and all(found.get(name) == shape for name, shape in given.items()):
                    return {key: value} if found != usual or (height, width) != (side, side) else {}
        return {}

    def _shape(self, model: str, module: nn.Module, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """The shape of one sample, where the user does not say."""
        channels, *size = self.usual(model, module)
        side = next((settings[key] for key in self.sides(model) if key in settings), None)
        if side is not None:
            size = list(side) if isinstance(side, list | tuple) else [side, side]
        return (int(settings.get(self.channels, channels)), *size)


def keywords(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as constructors want them: lists as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}


def _attempt(sizes: Callable[..., Sizes], settings: Mapping[str, Any]) -> Sizes | None:
    try:
        return sizes(**settings)
    except UnsupportedModelError:
        return None


def _solved(sizes: Callable[..., Sizes], key: str, given: Sizes) -> int | None:
    """The whole number `key` for which the network has the given shapes, from how two numbers change its shapes."""
    low, high = _attempt(sizes, {key: 3}), _attempt(sizes, {key: 4})
    if low is None or high is None:
        return None
    for name, shape in given.items():
        a, b = low.get(name, ()), high.get(name, ())
        for at, (first, second) in enumerate(zip(a, b, strict=False)):
            if first != second and len(shape) == len(a):
                value = 3 + (shape[at] - first) / (second - first)
                if value == int(value) and value > 0:
                    return int(value)
    return None


def _guesses(side: int, usual: Sizes, given: Sizes) -> list[int]:
    """Sides of square images for which tables of positions would have the given sizes."""
    found: dict[int, None] = {}
    for name, shape in given.items():
        for a, v in zip(usual.get(name, ()), shape, strict=False):
            for extra in (0, 1, 2, 5) if a != v else ():
                if a > extra and v > extra:
                    guess = side * math.sqrt((v - extra) / (a - extra))
                    if abs(guess - round(guess)) < 1e-6:
                        found[round(guess)] = None
    return list(found)
