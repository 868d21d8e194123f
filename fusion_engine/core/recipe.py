"""A recipe: importance x grouping x solver x post, each a method with parameters. Strict YAML that round-trips."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from . import registry
from .errors import RecipeError

__all__ = ["Recipe", "Step", "parse_settings"]

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

    width: hidden widths of the fused network over the first parent's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = "custom"
    importance: Step = Step(method="uniform")
    grouping: Step = Step(method="identity")
    solver: Step = Step(method="average")
    post: tuple[Step, ...] = ()
    width: float = Field(default=1.0, ge=0.05, le=8.0)

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

    # ---- reading and writing

    @classmethod
    def from_mapping(cls, mapping: Any) -> Recipe:
        """From a plain mapping (YAML, JSON). RecipeError on unknown keys or wrong forms."""
        if not isinstance(mapping, Mapping):
            raise RecipeError("a recipe is a mapping with the keys importance, grouping, solver, post, width")
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
        try:
            return cls.from_mapping(yaml.load(text, Loader=_UniqueLoader))
        except yaml.YAMLError as error:
            raise RecipeError(f"recipe is not valid YAML: {str(error).splitlines()[0]}") from None

    def to_mapping(self) -> dict[str, Any]:
        """Plain mapping; `from_mapping` of it gives an equal recipe."""
        return {
            "name": self.name,
            **{part: getattr(self, part).written() for part in _PARTS},
            "post": [step.written() for step in self.post],
            "width": self.width,
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

    def checked(self, parents: int | None = None, available: Iterable[str] = ()) -> Recipe:
        """A copy with every default filled in, or RecipeError with the reason and the nearest recipe that works.

        parents: number of parents, if known. available: what the input offers beyond weights ('labels',
        'class_counts', 'base'), so that a recipe that needs more is refused before anything is computed.
        """
        available = set(available)
        specs = {part: registry.get(part, getattr(self, part).method) for part in _PARTS}
        post = [registry.get("post", step.method) for step in self.post]
        for spec in [*specs.values(), *post]:
            _check_parents(spec, parents)
        solver, grouping = specs["solver"], specs["grouping"]
        if solver.accepts is not None and grouping.name not in solver.accepts:
            raise RecipeError(
                f"solver {solver.name!r} does not work with grouping {grouping.name!r}; "
                f"nearest that works: grouping {sorted(solver.accepts)[0]!r}, or solver 'average'"
            )
        if self.width != 1 and grouping.widths != "any":
            reason = "pairs neurons one to one" if grouping.pairs else "aligns all parents with one"
            raise RecipeError(
                f"grouping {grouping.name!r} {reason} and keeps the width; for another width use grouping 'kmeans'"
            )
        for spec in post:
            _check_follows(spec, solver)
        if parents is not None and "base" not in available:
            for spec in [*specs.values(), *post]:
                _check_base(spec)
        if parents is not None and "labels" not in available:
            for spec in [specs["importance"], *post]:
                _check_labels(spec)
        filled = {
            part: Step(
                method=specs[part].name,
                parameters=registry.check_parameters(part, specs[part].name, getattr(self, part).parameters),
            )
            for part in _PARTS
        }
        reference = filled["grouping"].parameters.get("reference", 1)
        if parents is not None and reference > parents:
            raise RecipeError(f"grouping.reference: there is no parent {reference}; there are {parents}")
        wants = [step.parameters.get("head_weights") for step in filled.values()]
        if parents is not None and "class_share" in wants and "class_counts" not in available:
            raise RecipeError(
                "head_weights 'class_share' needs the parents' class counts (a parents.json beside the parents); "
                "use head_weights 'importance'"
            )
        steps = tuple(
            Step(method=s.method, parameters=registry.check_parameters("post", s.method, s.parameters))
            for s in self.post
        )
        return Recipe(name=self.name, post=steps, width=self.width, **filled)


def _check_follows(step: registry.MethodSpec, solver: registry.MethodSpec) -> None:
    if step.accepts is not None and solver.name not in step.accepts:
        raise RecipeError(
            f"post {step.name!r} cannot follow solver {solver.name!r}, which fits the layers to the norms as they are; "
            f"nearest that works: the same without it, or solver {sorted(step.accepts)[0]!r}"
        )


def _check_base(spec: registry.MethodSpec) -> None:
    if "base" in spec.needs:
        raise RecipeError(
            f"{spec.kind} {spec.name!r} needs the base model that the parents were trained from; give it "
            "(command line: --base FILE, Python: base=..., app: 'Base model'), or use another recipe"
        )


def _check_labels(spec: registry.MethodSpec) -> None:
    if "labels" in spec.needs:
        other = {"importance": "activation", "post": "full_distillation"}[spec.kind]
        raise RecipeError(
            f"{spec.kind} {spec.name!r} needs labels and the calibration data has none; use {spec.kind} {other!r}"
        )


def _check_parents(spec: registry.MethodSpec, parents: int | None) -> None:
    if parents is None:
        return
    if spec.max_parents is not None and parents > spec.max_parents:
        raise RecipeError(
            f"{spec.kind} {spec.name!r} takes at most {spec.max_parents} parents and there are {parents}; "
            f"use {'grouping kmeans' if spec.kind == 'grouping' else 'another ' + spec.kind}"
        )
    if parents < spec.min_parents:
        raise RecipeError(
            f"{spec.kind} {spec.name!r} takes at least {spec.min_parents} parents and there are {parents}"
        )


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


class _UniqueLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice: a silent override would fuse with another recipe than shown."""


def _unique_mapping(loader: _UniqueLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=deep)
        if not isinstance(key, str):
            raise RecipeError(f"recipe: the key {key!r} is not text; put it in quotes")
        if key in seen:
            raise RecipeError(f"recipe: the key {key!r} is given twice")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_UniqueLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)
