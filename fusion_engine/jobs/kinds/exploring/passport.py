"""Job passport: what a neuron answers to, where it looks, what it reads, and what is lost without it.

Three questions, one job kind: the passports of all neurons of a space (no `neurons`), where some of them look
(`neurons`), and what is lost without one (`neurons` with `silence`).
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_engine.core.errors import JobError, UnsupportedModelError
from fusion_engine.core.neurons import Neuron, read_neurons
from fusion_engine.core.progress import Progress
from fusion_engine.data import Dataset, check_samples
from fusion_engine.exploration.passport.excitation import extremes
from fusion_engine.exploration.passport.reading import read_space
from fusion_engine.exploration.passport.shapes import Counterfactual, Looks
from fusion_engine.exploration.passport.silencing import Network, silenced
from fusion_engine.exploration.passport.space_passports import (
    EXTREMES,
    FusedNetwork,
    Subject,
    space_passports,
    subject,
)
from fusion_engine.exploration.passport.where import where_it_looks
from fusion_engine.exploration.space_tables import groups_of
from fusion_engine.parents import check_parents, settled
from fusion_engine.store.files import write_json

from ...fusions import fused_of_run, fusion_job
from ...inputs import draw_samples, read_data, read_parents, whole_number

_MOST_SAMPLES = 5_000  # one number a sample and neuron is kept
_MOST_NEURONS = 16
_SILENCED_ON = 2_000


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json and, but for what is lost, passport.npz; shapes in fusion_engine/exploration/passport."""
    progress.part(0.0, 1.0, "load").report(0.0, "Reading parents and data")
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    samples = whole_number(arguments, "samples", 400, 1, _MOST_SAMPLES)
    if not isinstance(arguments.get("space"), str):
        raise JobError("space must be the name of a space")
    fusion = arguments.get("run")
    if fusion is not None and fusion_job(fusion)["parents"] != arguments["parents"]:
        raise JobError("this fusion was made of other parents; give the parents it was made of")
    about = _subject(arguments["parents"], arguments["data"], samples, seed, arguments["space"], fusion)
    part = progress.part(0.3, 1.0, "passport")
    if arguments.get("neurons") is None:
        info, arrays = space_passports(about, part)
        np.savez(folder / "passport.npz", **arrays)  # type: ignore[arg-type]
        write_json(folder / "result.json", info)
        return
    names = [parent.name for parent in about.parents]
    neurons = read_neurons(arguments["neurons"], names, about.sizes)
    if not 0 < len(neurons) <= _MOST_NEURONS:
        raise JobError(f"name 1 to {_MOST_NEURONS} neurons, such as 0:17")
    if arguments.get("silence") is None:
        _look(about, neurons, folder, part)
        return
    if len(neurons) != 1:
        raise JobError("one neuron is silenced at a time")
    source = arguments.get("test") or arguments["data"]
    result = _without(about, neurons[0], arguments["silence"], read_data(source, _SILENCED_ON, seed, True), part)
    write_json(folder / "result.json", result)


@functools.lru_cache(maxsize=4)
def _subject(parents: str, data: str, samples: int, seed: int, space: str, fusion: str | None) -> Subject:
    """What the passport is about; kept, as clicks on one space's neurons follow each other."""
    drawn = read_data(data, samples, seed)
    found, _ = settled(read_parents(parents), drawn)
    check_parents(found, minimum=1)
    check_samples(drawn, found[0].classes, found[0].input_shape)
    fused = None
    if fusion is not None:
        read = fused_of_run(fusion, found)
        fused = FusedNetwork(read.state, read.groupings)
    return subject(found, drawn, space, fused)


def _look(about: Subject, neurons: list[Neuron], folder: Path, progress: Progress) -> None:
    result: Looks = {"space": about.space, "how": {}, "reason": {}}
    arrays = {}
    readings = {}
    for neuron, part in progress.each(neurons, lambda n: f"where neuron {n} looks"):
        state, source = about.parents[neuron.parent].state, about.sources[neuron.parent]
        if neuron.parent not in readings:
            readings[neuron.parent] = read_space(about.graph, state, source, about.data, part)
        values = readings[neuron.parent].values[:, neuron.index : neuron.index + 1]
        try:
            chosen = extremes(values, EXTREMES)[0][0].tolist()
            looked = where_it_looks(about.graph, state, source, neuron.index, about.data, chosen)
        except UnsupportedModelError as error:
            result["reason"][str(neuron)] = str(error)
            continue
        result["how"][str(neuron)] = looked.how
        arrays[f"look/{neuron}"] = looked.maps.astype(np.float32)
    np.savez(folder / "passport.npz", **arrays)  # type: ignore[arg-type]
    write_json(folder / "result.json", result)


def _without(about: Subject, neuron: Neuron, to: Any, test: Dataset, progress: Progress) -> Counterfactual:
    if to not in ("mean", "zero"):
        raise JobError(f"silence must be 'mean' or 'zero', not {to!r}")
    test = draw_samples(test, _SILENCED_ON, 0)
    progress.report(0.1, f"silencing neuron {neuron}")
    parent, source = about.parents[neuron.parent], about.sources[neuron.parent]
    alone = silenced(about.graph, Network(parent.state, (neuron.index,)), source, about.data, test, to)
    fused, group = None, None
    if about.fused is not None:
        groups = groups_of(about.fused.groupings[about.space])
        group = int(groups[sum(about.sizes[: neuron.parent]) + neuron.index])
        if group >= 0:
            progress.report(0.5, f"silencing group {group} in the fused network")
            fused = silenced(
                about.graph, Network(about.fused.state, (group,)), about.space, about.data, test, to
            )
    return {
        "space": about.space, "neuron": str(neuron), "to": to, "on": test.name, "samples": len(test), "parent": alone,
        "fused": fused, "group": group if group is not None and group >= 0 else None,
    }  # fmt: skip
