"""Which runs are meant: by words, tags, recipe, parents, data and kind."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from fusion_engine.core.errors import StoreError

from ..runs import list_runs
from ..sets import read_data_summary, read_parents_summary
from ..shapes import DescribedRun, Run
from .about import read_about


class AmbiguousRunError(StoreError):
    """Several runs are meant."""


def find_runs(
    text: str = "",
    *,
    tags: Sequence[str] = (),
    recipe: str = "",
    parents: str = "",
    data: str = "",
    kind: str | None = "fuse",
    state: str | None = None,
    runs: Sequence[Run] | None = None,
) -> list[DescribedRun]:
    """Runs with what is said of them, newest first; only those that every given condition holds of.

    text: words, all of which are in the run's name, note, tags, recipe, id, or in the names of its parents and data,
    in any case. tags: all of them. recipe: its name. parents, data: a set's id or name; data is calibration or test
    data. kind: of the job; None takes all. state: 'done', 'failed', ...; None takes all. runs: to choose among; None:
    all in the store. Reads small JSON files only.
    """
    words = text.casefold().split()
    wanted = {tag.casefold() for tag in tags}
    names = _Names()
    found = []
    for run in list_runs(kind) if runs is None else runs:
        if state is not None and run["state"] != state:
            continue
        arguments = run["arguments"]
        own, sets = recipe_name(arguments), names.of(arguments)
        if recipe and own.casefold() != recipe.casefold():
            continue
        if parents and not _is(parents, arguments.get("parents"), sets["parents"]):
            continue
        if data and not any(_is(data, arguments.get(key), sets[key]) for key in ("data", "test")):
            continue
        try:
            about = read_about(run["id"])
        except StoreError:  # deleted meanwhile
            continue
        if not wanted <= {tag.casefold() for tag in about["tags"]}:
            continue
        described = cast(DescribedRun, {**run, "about": about, "recipe": own, "names": sets})
        if words:
            parts = (about["name"], about["note"], *about["tags"], own, run["id"], *sets.values())
            said = "\n".join(parts).casefold()
            if not all(word in said for word in words):
                continue
        found.append(described)
    return found


def every_tag(runs: Sequence[DescribedRun]) -> list[str]:
    """All tags of runs, in alphabetical order."""
    return sorted({tag for run in runs for tag in run["about"]["tags"]}, key=str.casefold)


def recipe_name(arguments: Mapping[str, Any]) -> str:
    """The name of a job's recipe: 'custom' for one that has none, '' for jobs without."""
    recipe = arguments.get("recipe")
    if isinstance(recipe, Mapping):
        return str(recipe.get("name") or "custom")
    return recipe if isinstance(recipe, str) else ""


def named_run(reference: str) -> str:
    """The id of the one fusion that an id, the end of an id, or a run's name means. StoreError for none,
    AmbiguousRunError for several."""
    exact, close = [], []
    for run in find_runs():
        if reference == run["id"] or reference == run["about"]["name"]:
            exact.append(run)
        elif len(reference) >= _FEWEST and run["id"].endswith(reference):
            close.append(run)
    found = exact or close
    if len(found) == 1:
        return found[0]["id"]
    if not found:
        raise StoreError(f"there is no fusion {reference!r} in the store; `runs list` shows those that there are")
    ids = ", ".join(run["id"] for run in found)
    raise AmbiguousRunError(f"{reference!r} means {len(found)} runs; give the id of one: {ids}")


_FEWEST = 4  # characters of an id's end


class _Names:
    """Names of parent sets and data sets, each read once."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, Any], str] = {}

    def of(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        return {key: self._name(key, arguments.get(key)) for key in ("parents", "data", "test")}

    def _name(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            return ""
        if (key, value) not in self.known:
            try:
                summary = read_parents_summary(value) if key == "parents" else read_data_summary(value)
                self.known[key, value] = str(summary["name"])
            except (StoreError, KeyError):  # built in, or no longer there
                self.known[key, value] = value
        return self.known[key, value]


def _is(wanted: str, identifier: Any, name: str) -> bool:
    return wanted == identifier or wanted.casefold() == name.casefold()


