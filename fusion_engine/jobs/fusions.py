"""Fused networks read back, for an analysis or to go on from: from a run in the store, a run's folder, or a file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_engine import store
from fusion_engine.analysis import Fused
from fusion_engine.core.errors import JobError, StoreError
from fusion_engine.core.files import check_file
from fusion_engine.core.recipe import Recipe
from fusion_engine.core.types import Grouping
from fusion_engine.parents import Parent, canonical_state, check_parents, load_parent, read_safetensors
from fusion_engine.pipeline import Finished
from fusion_engine.store.results import StoredGrouping, groupings_in

from .inputs import read_base

_LIMIT = 2**30


def fusion_job(run: str) -> Mapping[str, object]:
    """The arguments of a finished fuse run; JobError for any other run."""
    job = store.read_job(run)
    if job["kind"] != "fuse":
        raise JobError("only a fusion has a fused network to analyse; give the id of a fuse run")
    if store.read_status(run)["state"] != "done":
        raise JobError("this fusion has not finished, so there is no fused network to analyse")
    arguments: Mapping[str, object] = job["arguments"]
    return arguments


def fused_of_run(run: str, parents: Sequence[Parent]) -> Fused:
    """The fused network of a finished fuse run of these parents."""
    tensors, _ = read_safetensors(store.result_path(run, "fused.safetensors"))
    state = canonical_state(parents[0], tensors)
    recipe = Recipe.from_mapping(store.read_report(run)["recipe"])
    return Fused(state, _groupings(store.read_groupings(run)), recipe)


def network_of(reference: str) -> Parent:
    """The network that `reference` names: the id of a fuse run, for its fused network; or a parent set's id, a dot and
    the number of one of its parents. JobError or StoreError for anything else."""
    if "." in reference:
        return read_base(reference)
    fusion_job(reference)
    name = store.read_about(reference)["name"] or f"fused {store.recipe_name(store.read_job(reference)['arguments'])}"
    return replace(load_parent(store.result_path(reference, "fused.safetensors")), name=name)


def finished_run(run: str, arguments: Mapping[str, Any], parents: Sequence[Parent]) -> Finished:
    """What a fuse job with these arguments can go on from in a finished fuse run; JobError in one line for a run of
    other parents, samples or seed."""
    earlier, report = fusion_job(run), store.read_report(run)
    for name, said in _SAME.items():
        one, other = ({"device": "cpu", **given}.get(name) or 0 for given in (earlier, arguments))
        if one != other:
            raise JobError(f"run {run} has {said}, so a fusion cannot go on from it")
    recipe = Recipe.from_mapping(report["recipe"])
    has_solved = (store.run_folder(run) / "solved.safetensors").is_file()
    if recipe.post and not has_solved:
        raise JobError(f"run {run} was made before fusions could go on from one; run it again")
    tensors, _ = read_safetensors(store.result_path(run, f"{'solved' if has_solved else 'fused'}.safetensors"))
    solved = canonical_state(parents[0], tensors)
    stored = store.read_groupings(run) | (store.read_groupings(run, unedited=True) if recipe.edits else {})
    chosen = report["decisions"].get("grouping", {})
    groupings = {}
    for entry in report["spaces"]:
        name, made = entry["name"], _groupings({entry["name"]: stored[entry["name"]]})[entry["name"]]
        info = {key: value for key, value in (("fallback", entry["fallback"]), ("chosen", chosen.get(name))) if value}
        groupings[name] = replace(made, method=entry["grouping"], info=info)
    return Finished(recipe, groupings, solved, report, tuple(parent.digest for parent in parents))


_SAME = {
    "parents": "other parents", "data": "other calibration data", "samples": "another number of samples",
    "seed": "another seed", "base": "another base model", "device": "another device",
}  # fmt: skip


def fused_of_folder(folder: Path, parents: Sequence[Parent], arch: str = "auto") -> Fused:
    """The fused network of a folder that `FusionResult.save` or a job wrote: fused.safetensors, groupings.npz,
    recipe.yaml. StoreError or ParentError, with the name of the file, where they are missing or of other parents."""
    if not folder.is_dir():
        raise StoreError(f"{folder.name}: there is no such folder; give the folder of a fusion's run")
    weights = fused_of_file(folder / "fused.safetensors", parents, arch)
    groupings = groupings_in(check_file(folder / "groupings.npz", _LIMIT, StoreError))
    text = check_file(folder / "recipe.yaml", 2**20, StoreError).read_text(encoding="utf-8", errors="replace")
    return Fused(weights.state, _groupings(groupings), Recipe.from_yaml(text))


def fused_of_file(path: Path, parents: Sequence[Parent], arch: str = "auto") -> Fused:
    """A network of the parents' architecture from a file of weights, without groupings."""
    fused = load_parent(path, arch, input_shape=parents[0].input_shape)
    check_parents([parents[0], fused])
    return Fused(fused.state, {})


def _groupings(stored: Mapping[str, StoredGrouping]) -> dict[str, Grouping]:
    return {
        name: Grouping(name, "stored", tuple(g.merge), tuple(g.unmerge), None if g.labels is None else tuple(g.labels))
        for name, g in stored.items()
    }
