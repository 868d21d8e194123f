"""A recipe: importance x grouping x solver x post, each a method with parameters. Strict YAML that round-trips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from . import registry
from .capability import Facts, obstacles, steps
from .edits import Edit, read_edits
from .errors import RecipeError
from .strict_yaml import load_strict

_PARTS = ("importance", "grouping", "solver")


class Step(BaseModel):
    """One method and its parameters. In YAML: {method: kmeans, tries: 5}, or just the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    method: str
    parameters: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def read(cls, value: Any, where: str) -> Step:
        """A Step from YAML's form; RecipeError otherwise."""
        if isinstance(value, Step):
            return value
        if isinstance(value, str):
            return cls(method=value)
        if not isinstance(value, Mapping) or not isinstance(value.get("method"), str):
            raise RecipeError(f"{where}: give a method's name, or a mapping with a key 'method'")
        return cls(method=value["method"], parameters={str(k): v for k, v in value.items() if k != "method"})

    def written(self) -> dict[str, Any]:
        """The YAML form."""
        return {"method": self.method, **self.parameters}


class Recipe(BaseModel):
    """How to fuse. Frozen; build changed copies with `set`.

    width: hidden widths of the fused network over the first parent's. edits: changes of groupings by hand, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = "custom"
    importance: Step = Step(method="uniform")
    grouping: Step = Step(method="identity")
    solver: Step = Step(method="average")
    post: tuple[Step, ...] = ()
    width: float = Field(default=1.0, ge=0.05, le=8.0)
    edits: tuple[Edit, ...] = ()

    @field_validator("importance", "grouping", "solver", mode="before")
    @classmethod
    def _read_step(cls, value: Any) -> Step:
        return Step.read(value, "recipe")

    @field_validator("post", mode="before")
    @classmethod
    def _read_post(cls, value: Any) -> tuple[Step, ...]:
        if value is None:
            return ()
        if isinstance(value, str | Mapping | Step):
            value = [value]
        return tuple(Step.read(v, f"post.{i}") for i, v in enumerate(value))

    @field_validator("edits", mode="before")
    @classmethod
    def _read_edits(cls, value: Any) -> tuple[Edit, ...]:
        return read_edits(() if value is None else value)

    # ---- reading and writing

    @classmethod
    def from_mapping(cls, mapping: Any) -> Recipe:
        """From a plain mapping (YAML, JSON). RecipeError on unknown keys or wrong forms."""
        if not isinstance(mapping, Mapping):
            raise RecipeError("a recipe is a mapping with the keys importance, grouping, solver, post, width, edits")
        for key in mapping:
            if key not in cls.model_fields:
                raise RecipeError(f"recipe has an unknown key {key!r}{registry.nearest(str(key), cls.model_fields)}")
        try:
            return cls(**mapping)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise RecipeError(f"recipe: {where}: {first['msg']}") from None

    @classmethod
    def from_yaml(cls, text: str) -> Recipe:
        """From YAML text (safe loader; duplicate keys refused)."""
        return cls.from_mapping(load_strict(text, "recipe"))

    def to_mapping(self) -> dict[str, Any]:
        """Plain mapping; `from_mapping` of it gives an equal recipe. It has a key 'edits' where there are any."""
        return {
            "name": self.name,
            **{part: getattr(self, part).written() for part in _PARTS},
            "post": [step.written() for step in self.post],
            "width": self.width,
            **({"edits": [edit.written() for edit in self.edits]} if self.edits else {}),
        }

    def to_yaml(self) -> str:
        """YAML text; `from_yaml` of it gives an equal recipe."""
        return yaml.safe_dump(self.to_mapping(), sort_keys=False)

    @property
    def solving_needs(self) -> frozenset[str]:
        """What the methods that make weights need: the solver, and the steps after it."""
        steps = [("solver", self.solver), *(("post", step) for step in self.post)]
        return frozenset().union(*(registry.get(kind, step.method).needed(step.parameters) for kind, step in steps))

    # ---- changing

    def set(self, settings: Mapping[str, Any]) -> Recipe:
        """A copy with settings such as {"grouping.tries": 5, "importance": "deeplift", "post.0.epochs": 20}.

        What stands behind a parameter's name is a space's, dots and all: with {"grouping.ratio.layer1.0.conv1": 0.2}
        the other spaces keep the value they have.
        """
        recipe = self
        for path, value in settings.items():
            recipe = recipe._with(path, value)
        return recipe

    def with_edits(self, edits: Iterable[Edit]) -> Recipe:
        """A copy with these edits in place of its own."""
        return Recipe.from_mapping({**self.to_mapping(), "edits": tuple(edits)})

    def _with(self, path: str, value: Any) -> Recipe:
        mapping = self.to_mapping()
        part, *rest = path.split(".")
        if part not in mapping:
            raise RecipeError(f"--set {path}: a recipe has no part {part!r}{registry.nearest(part, mapping)}")
        parts: Any = mapping
        key: str | int = part
        if part == "post" and rest:
            parts = mapping["post"]
            key = _index(parts, rest.pop(0), path)
        if not rest:
            parts[key] = value
            return Recipe.from_mapping(mapping)
        step, parameter, space = parts[key], rest[0], ".".join(rest[1:])
        if not isinstance(step, dict):
            raise RecipeError(f"--set {path}: {part} has no parameters; write {part}={value}")
        if space:
            known = step.get(parameter, {})
            value = {**(known if isinstance(known, Mapping) else {registry.OTHERS: known}), space: value}
        step[parameter] = value
        return Recipe.from_mapping(mapping)

    # ---- checking

    def checked(self, parents: int | None = None, available: Iterable[str] = (), equal_widths: bool = True) -> Recipe:
        """A copy with every default filled in, or RecipeError with the reason and the nearest recipe that works.

        parents: number of parents, if known. available: what the input offers beyond weights ('labels',
        'class_counts', 'base'), so that a recipe that needs more is refused before anything is computed.
        equal_widths: whether the parents are equally wide.
        """
        mapping = self.to_mapping()
        for kind, step in steps(mapping):
            method = step.pop("method")
            filled = registry.check_parameters(kind, method, dict(step))
            step.clear()
            step.update(method=method, **filled)
        methods: dict[str, list[dict[str, Any]]] = {}
        for kind, step in steps(mapping):
            methods.setdefault(kind, []).append(registry.get(kind, step["method"]).as_json())
        facts = None if parents is None else Facts(parents, frozenset(available), equal_widths)
        for obstacle in obstacles(mapping, methods, facts):
            raise RecipeError(obstacle.message)
        return Recipe.from_mapping(mapping)


def _index(items: list[Any], key: str, path: str) -> int:
    if not key.isdecimal() or int(key) >= len(items):
        raise RecipeError(f"--set {path}: {key!r} is not a position in a list of {len(items)}")
    return int(key)


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """["grouping.tries=5"] -> {"grouping.tries": 5}; values are read as YAML scalars."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise RecipeError(f"--set {pair}: write it as path.to.key=value, for example grouping.tries=5")
        try:
            settings[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            settings[key.strip()] = value
    return settings
