"""Job preflight: can these parents be fused, and what are they made of?"""

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fusion_engine.architectures import token_example
from fusion_engine.core.errors import BlamedSpaceError, FusionError
from fusion_engine.core.progress import Listener, Progress
from fusion_engine.core.types import State
from fusion_engine.data import check_samples
from fusion_engine.evaluation import chance_notes
from fusion_engine.exploration.structure import described
from fusion_engine.graph import Trace, VerifyReport, trace, verify_all, without_blamed
from fusion_engine.parents import Parent, check_parents, settled
from fusion_engine.store.files import write_json

from ..inputs import read_data, read_parents, read_shape, whole_number
from ..shapes import Compatibility, Preflight, Verdict


def run(arguments: Mapping[str, Any], folder: Path, progress: Progress) -> None:
    """Write result.json; see docs/architecture.md."""
    progress.part(0.0, 1.0, "load").report(0.05, "Reading the parents")
    parents = read_parents(arguments["parents"])
    shape = read_shape(arguments)
    seed = whole_number(arguments, "seed", 0, 0, 2**31 - 1)
    said: list[str] = []
    if arguments.get("data"):
        try:
            parents, said = settled(parents, data := read_data(arguments["data"], _LOOKED_AT, seed))
            check_samples(data, parents[0].classes, parents[0].input_shape)
            said += chance_notes(parents, data)
        except FusionError as problem:
            said = [str(problem)]
    result = inspect(parents, shape, seed, progress)
    result["warnings"] = [*said, *result["warnings"]]
    write_json(folder / "result.json", result)


def inspect(
    parents: Sequence[Parent], input_shape: Sequence[int] | None, seed: int, listener: Listener
) -> Preflight:
    """The preflight of `parents`: compatibility, spaces, levels, layers, and the permutation test of each parent.

    input_shape: of one sample; None takes the one recognised with the architecture. A reason why the parents
    cannot be fused is in "error"; what can still be said about them is there all the same.
    """
    started = time.perf_counter()
    matrix = [[_pair(a, b) for b in parents] for a in parents]
    result: Preflight = {
        "ok": False, "error": None, "parents": [], "matrix": matrix, "spaces": [], "levels": [], "layers": [],
        "verify": {}, "sensitivity": None, "seconds": 0.0, "warnings": [],
    }
    try:
        result["warnings"] += check_parents(parents, minimum=1)
    except FusionError as error:
        result["error"] = str(error)
    looks = _looks(parents, input_shape, seed, Progress.to(listener))
    result["parents"] = _verdicts(parents, looks, matrix)
    failed = next((look.error for look in looks if look.error is not None), None)
    if result["error"] is None and failed is not None:
        result["error"] = str(failed)
    described_parent = next((i for i, look in enumerate(looks) if look.graph is not None), None)
    if described_parent is not None:
        graph = looks[described_parent].graph
        assert graph is not None
        result.update(described(graph, parents[described_parent].state, len(parents)))  # type: ignore[typeddict-item]
        result["warnings"] += graph.warnings
    reports = [look.report for look in looks if look.report is not None]
    if reports:
        # All spaces are permuted at once, so each is known to be at most as far off as all together.
        result["verify"] = dict.fromkeys(reports[0].spaces, max(r.difference for r in reports))
        result["sensitivity"] = min(r.sensitivity for r in reports)
        result["warnings"] += sorted({line for r in reports for line in r.warnings})
    result["ok"] = result["error"] is None
    result["seconds"] = round(time.perf_counter() - started, 3)
    return result


@dataclass
class _Look:
    """What tracing and verifying one parent gave."""

    graph: Trace | None = None
    report: VerifyReport | None = None
    error: FusionError | None = None


def _looks(
    parents: Sequence[Parent], input_shape: Sequence[int] | None, seed: int, progress: Progress
) -> list[_Look]:
    """Trace and verify every parent; those of one architecture and width share the trace."""
    kinds: dict[Any, list[int]] = {}
    for number, parent in enumerate(parents):
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in parent.state.items())
        kinds.setdefault((str(parent.architecture), shapes), []).append(number)
    looks = [_Look() for _ in parents]
    for done, members in enumerate(kinds.values()):
        first = parents[members[0]]
        start, share = 0.1 + 0.9 * done / len(kinds), 0.9 / len(kinds)
        shape = tuple(input_shape or first.input_shape)
        tokens = getattr(first.architecture, "inputs", ())
        random = torch.Generator().manual_seed(seed)
        example = token_example(shape, tokens) if tokens else torch.randn(2, *shape, generator=random)
        try:
            progress.part(0.0, 1.0, "trace").report(start, "Tracing the architecture")
            graph = trace(first.model, (example,))
        except FusionError as error:
            for number in members:
                looks[number].error = error
            continue
        progress.part(0.0, 1.0, "verify").report(start + 0.3 * share, "Permuting the parents' neurons")
        states = [parents[number].state for number in members]
        reports = _verified(graph, states, example, seed)
        if any(isinstance(failure, BlamedSpaceError) for _, failure in reports):
            with contextlib.suppress(FusionError):
                graph = without_blamed(graph, states, (example,), seed=seed)
                reports = _verified(graph, states, example, seed)
        for number, (report, failure) in zip(members, reports, strict=True):
            looks[number] = _Look(graph, report, failure)
    return looks


def _verified(
    graph: Trace, states: Sequence[State], example: torch.Tensor, seed: int
) -> list[tuple[VerifyReport | None, FusionError | None]]:
    """The permutation test of every state: all at once, one by one only where that fails, to see which it is."""
    try:
        return [(report, None) for report in verify_all(graph, states, (example,), seed=seed)]
    except FusionError as error:
        if len(states) == 1:
            return [(None, error)]
        return [_verified(graph, [state], example, seed)[0] for state in states]


def _verdicts(
    parents: Sequence[Parent], looks: Sequence[_Look], matrix: Sequence[Sequence[Compatibility]]
) -> list[Verdict]:
    """One line a parent: whether it can be traced and permuted, and fits the parent that most others fit."""
    usual = max(range(len(parents)), key=lambda i: sum(cell["ok"] for cell in matrix[i]), default=0)
    verdicts: list[Verdict] = []
    for number, (parent, look) in enumerate(zip(parents, looks, strict=True)):
        reason = str(look.error) if look.error is not None else str(matrix[usual][number]["reason"])
        ok = look.error is None and bool(matrix[usual][number]["ok"])
        named = _BLAME.search(reason) if look.error is not None else None
        verdicts.append({
            "name": parent.name,
            "ok": ok,
            "reason": "" if ok else reason,
            "operation": (named["operation"] or "") if named else "",
            "module": (named["module"] or named["several"] or "") if named else "",
        })  # fmt: skip
    return verdicts


# Errors of the tracer and of the permutation test name what they fail at in these words.
_LOOKED_AT = 400  # samples that show what files do not say
_BLAME = re.compile(
    r"operator '(?P<operation>[^']+)' in (?:module '(?P<module>[^']+)'|the model itself)"
    r"|an operator in (?P<several>.+) has a wrong label rule"
)


def _pair(a: Parent, b: Parent) -> Compatibility:
    """One cell of the compatibility matrix."""
    if a is b:
        return {"ok": True, "reason": ""}
    try:
        check_parents([a, b])
    except FusionError as error:
        return {"ok": False, "reason": str(error)}
    return {"ok": True, "reason": "same architecture"}
