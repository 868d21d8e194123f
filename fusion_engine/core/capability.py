"""What a recipe cannot do on given parents, read from the methods' descriptions, which are all that the app has: for
engine, leaderboard and app."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .registry import nearest, needed

_LISTED: Final = 10  # labels that a line names

Methods = Mapping[str, Sequence[Mapping[str, Any]]]
"""Descriptions (`MethodSpec.as_json`) by kind: all of `registry.catalogue()`, or at least those that a recipe uses."""


@dataclass(frozen=True)
class Facts:
    """What a recipe is given. parents: how many. available: what there is beyond weights: 'labels', 'class_counts' (of
    all parents), 'base'. equal_widths: whether all parents' tensors have the same shapes."""

    parents: int
    available: frozenset[str]
    equal_widths: bool = True


@dataclass(frozen=True)
class Obstacle:
    """A reason, in one line. message: with the nearest recipe that works, in a recipe's own words. shown: for the app,
    where the methods have titles and the other choices are in sight."""

    message: str
    shown: str


def steps(recipe: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Kind and step (a mapping with a key 'method') of a Recipe's mapping, or of some of its parts: importance,
    grouping, solver and what follows it."""
    parts = [(kind, recipe[kind]) for kind in ("importance", "grouping", "solver") if kind in recipe]
    return parts + [("post", step) for step in recipe.get("post", ())]


def used(recipe: Mapping[str, Any], methods: Methods) -> list[tuple[str, Any, Mapping[str, Any] | None]]:
    """`steps` with the description of each method, None where there is no such method."""
    entries = {(kind, entry["name"]): entry for kind, listed in methods.items() for entry in listed}
    return [(kind, step, entries.get((kind, step["method"]))) for kind, step in steps(recipe)]


def obstacles(recipe: Mapping[str, Any], methods: Methods, facts: Facts | None) -> Iterator[Obstacle]:
    """Every reason why the recipe cannot work on parents as `facts` tells them, the first to be mended first.

    recipe: a Recipe's mapping, or some of its parts. facts: None where nothing is known of the parents yet: then what
    works on no parents at all.
    """
    chosen: list[tuple[str, Any, Mapping[str, Any]]] = []
    for kind, step, entry in used(recipe, methods):
        if entry is None:
            name, there = step["method"], [other["name"] for other in methods.get(kind, ())]
            yield Obstacle(f"unknown {kind} {name!r}{nearest(name, there)}", f"There is no {kind} called {name}.")
            return
        chosen.append((kind, step, entry))
    parts = {kind: entry for kind, _, entry in chosen if kind != "post"}
    if facts is not None:
        for kind, _, entry in chosen:
            yield from _of_number(kind, entry, facts.parents)
    if "grouping" in parts:
        yield from _of_grouping(parts["grouping"], parts.get("solver"), recipe.get("width", 1))
    if recipe.get("edits"):
        yield from _of_edits(parts)
    if facts is not None:
        for need, lacking in (("base", _lacking_base), ("labels", _lacking_labels)):
            if need not in facts.available:
                yield from (lacking(kind, entry) for kind, step, entry in chosen if need in needed(entry, step))
    for kind, _, entry in chosen:
        if kind == "post" and "solver" in parts:
            yield from _of_following(entry, parts["solver"]["name"])
    if facts is not None:
        for kind, step, entry in chosen:
            yield from _of_parameters(kind, step, entry, facts)
        if "grouping" in parts and not facts.equal_widths and parts["grouping"]["widths"] == "equal":
            name, title = parts["grouping"]["name"], parts["grouping"]["title"]
            reason = "pairs neurons one to one" if parts["grouping"]["pairs"] else "needs equal widths"
            yield Obstacle(
                f"the parents have different widths and grouping {name!r} {reason}; use grouping 'kmeans'",
                f"{title} {reason}, and the parents' widths differ; choose another grouping.",
            )


def _of_number(kind: str, entry: Mapping[str, Any], parents: int) -> Iterator[Obstacle]:
    name, title, least, most = (entry[key] for key in ("name", "title", "min_parents", "max_parents"))
    if most is not None and parents > most:
        yield Obstacle(
            f"{kind} {name!r} takes at most {most} parents and there are {parents}; "
            f"use {'grouping kmeans' if kind == 'grouping' else 'another ' + kind}",
            f"{title} works with at most {most} parents; you have {parents}.",
        )
    if parents < least:
        yield Obstacle(
            f"{kind} {name!r} takes at least {least} parents and there are {parents}",
            f"{title} needs at least {least} parents; you have {parents}.",
        )


def _of_grouping(grouping: Mapping[str, Any], solver: Mapping[str, Any] | None, width: float) -> Iterator[Obstacle]:
    name, title = grouping["name"], grouping["title"]
    if solver is not None and solver["accepts"] is not None and name not in solver["accepts"]:
        yield Obstacle(
            f"solver {solver['name']!r} does not work with grouping {name!r}; "
            f"nearest that works: grouping {sorted(solver['accepts'])[0]!r}, or solver 'average'",
            f"{solver['title']} works with the groupings {', '.join(solver['accepts'])} only.",
        )
    if width != 1 and grouping["widths"] != "any":
        reason = "pairs neurons one to one" if grouping["pairs"] else "aligns all parents with one"
        yield Obstacle(
            f"grouping {name!r} {reason} and keeps the width; for another width use grouping 'kmeans'",
            f"{title} {reason}, which keeps the width; choose another grouping.",
        )


def _of_edits(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[Obstacle]:
    grouping, solver = parts.get("grouping"), parts.get("solver")
    if grouping is not None and grouping["linear"]:
        yield Obstacle(
            f"grouping {grouping['name']!r} mixes neurons instead of grouping them, so there are no groups to edit; "
            "use grouping 'kmeans', or leave the edits out",
            f"{grouping['title']} has no groups to edit; choose another grouping, or leave the edits out.",
        )
    if solver is not None and solver["accepts"] == ["identity"]:
        yield Obstacle(
            f"solver {solver['name']!r} compares the parents weight by weight and looks at no groups; "
            "leave the edits out, or use solver 'average'",
            f"{solver['title']} looks at no groups; leave the edits out, or choose another solver.",
        )


def _of_following(step: Mapping[str, Any], solver: str) -> Iterator[Obstacle]:
    if step["accepts"] is not None and solver not in step["accepts"]:
        yield Obstacle(
            f"post {step['name']!r} cannot follow solver {solver!r}, which fits the layers to the norms as they are; "
            f"nearest that works: the same without it, or solver {sorted(step['accepts'])[0]!r}",
            f"{step['title']} follows the solvers {', '.join(step['accepts'])} only.",
        )


def _lacking_base(kind: str, entry: Mapping[str, Any]) -> Obstacle:
    return Obstacle(
        f"{kind} {entry['name']!r} needs the base model that the parents were trained from; give it "
        "(command line: --base FILE, Python: base=..., app: 'Base model'), or use another recipe",
        "It needs the base model that the parents were trained from; choose it as Base model.",
    )


def _lacking_labels(kind: str, entry: Mapping[str, Any]) -> Obstacle:
    other = {"importance": "importance 'activation'", "post": "post 'full_distillation'"}.get(kind, f"another {kind}")
    return Obstacle(
        f"{kind} {entry['name']!r} needs labels and the calibration data has none; use {other}",
        f"{entry['title']} needs labels and the calibration data has none; "
        f"choose another {'step' if kind == 'post' else kind}.",
    )


def _of_parameters(kind: str, step: Mapping[str, Any], entry: Mapping[str, Any], facts: Facts) -> Iterator[Obstacle]:
    values = {parameter["name"]: parameter["default"] for parameter in entry["parameters"]} | dict(step)
    if kind == "grouping" and values.get("reference", 1) > facts.parents:
        reason = f"there is no parent {values['reference']}; there are {facts.parents}"
        yield Obstacle(f"grouping.reference: {reason}", f"{entry['title']}: {reason}.")
    if values.get("head_weights") == "class_share" and "class_counts" not in facts.available:
        yield Obstacle(
            "head_weights 'class_share' needs the parents' class counts (a parents.json beside the parents); "
            "use head_weights 'importance'",
            "Head weights class_share need the parents' class counts (a parents.json beside the parents); "
            "choose importance instead.",
        )


def missing_labels(counts: Sequence[int], classes: int) -> list[int]:
    """Those of `classes` that have no samples; counts: of the classes that data has labels of."""
    return [label for label in range(classes) if label >= len(counts) or not counts[label]]


def some_labels(labels: Sequence[int]) -> str:
    """Up to ten labels, and how many more there are."""
    more = len(labels) - _LISTED
    return ", ".join(map(str, labels[:_LISTED])) + (f" and {more:,} more" if more > 0 else "")


def without_samples(missing: Sequence[int]) -> str:
    """What labelled calibration samples that lack these classes cannot tell, one or more, for a report and a page."""
    them = "it" if len(missing) == 1 else f"these {len(missing):,} classes"
    return (
        f"no samples of class {some_labels(missing)}: nothing is judged for {them}, the parents count equally at those "
        "outputs, and what is trained or solved is not fitted to them"
    )
