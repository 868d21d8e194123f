"""From a row of a leaderboard to its network on Compare and Explore. A leaderboard keeps figures, not networks: a row
is opened in the fusion that is the same, which is made first where there is none."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fusion_engine import store
from fusion_engine.jobs import client

from ..recipe import recipes
from ..run import progress
from ..shared import state
from ..shared.page_frame import existing, next_steps

_SAME = ("parents", "data", "test", "samples", "base", "device")


def open_row(board: str, entry: Mapping[str, Any]) -> None:
    """Links to the fusion of an entry's recipe by the leaderboard's first seed, or the button that makes it."""
    arguments = fusion_arguments(board, entry)
    run = same_fusion(arguments)
    opening = state.get("opening")
    job = existing(store.read_job, opening) if run is None and opening else None
    catalogue = client.catalogue() if job is not None else None
    if job is not None and catalogue is not None and job["kind"] == "fuse" and _same(job, arguments, catalogue):
        if not progress.follow(opening, "Fusing it again, to keep its network"):
            return
        run = opening
    if run is not None:
        next_steps({"run": run, "runs": run}, compare="Open in Compare")
        next_steps({"run": run, "source": "run"}, explore="Open in Explore")
        return
    if progress.pressed(
        "Open in Compare and Explore", f"open-row-{board}", icon=":material/open_in_new:",
        help="Fuses by this recipe once more, as a leaderboard keeps figures alone; then it opens there.",
    ) and (made := progress.submit("fuse", arguments)):
        state.put(opening=made)
        st.rerun()


def fusion_arguments(board: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fuse job that gives an entry's network."""
    given = store.read_job(board)["arguments"]
    about = {name: given[name] for name in _SAME if given.get(name) is not None}
    seeds = entry["seeds"] or given.get("seeds") or [0]
    return {**about, "recipe": {**entry["recipe"], "name": entry["preset"]}, "seed": seeds[0]}


def same_fusion(arguments: Mapping[str, Any]) -> str | None:
    """The newest finished fusion that is the same; None without one."""
    catalogue = client.catalogue()  # a file of some size: read once, not once a run
    if catalogue is None:
        return None
    done = (run for run in store.list_runs("fuse") if run["state"] == "done")
    return next((run["id"] for run in done if _same(run, arguments, catalogue)), None)


def _same(run: Mapping[str, Any], arguments: Mapping[str, Any], catalogue: Mapping[str, Any]) -> bool:
    """Whether a fuse run does what these arguments ask for."""
    other = run["arguments"]
    if any(other.get(name) != arguments.get(name) for name in _SAME):
        return False
    known = {preset["name"]: preset["recipe"] for preset in catalogue["presets"]}
    recipe = other.get("recipe")
    recipe = known.get(recipe) if isinstance(recipe, str) else recipe
    if recipe is None or (other.get("seed") or 0) != arguments["seed"]:
        return False
    one, two = (dict(recipes.settings(recipes.normal(r, catalogue["methods"]))) for r in (recipe, arguments["recipe"]))
    return one == two
