"""The JSON that jobs hand to pages: status, catalogue, and the result.json of each kind that writes one. The result of
`analyse` is the report of `fusion_engine.analysis`, that of `difference` too, with the structure; leaderboard.json the
table of `fusion_engine.leaderboard`."""

from typing import Any, TypedDict

from fusion_engine.exploration.shapes import Structure
from fusion_engine.store.shapes import DataSummary, ParentsSummary, Status


class JobStatus(Status):
    """A run's status with the latest event's stage, fraction and message."""

    stage: str
    fraction: float
    message: str


class Catalogue(TypedDict):
    """catalogue.json, what forms are drawn from. methods: by kind, each `MethodSpec.as_json()`. versions: of Python and
    of what results depend on."""

    version: str
    methods: dict[str, list[dict[str, Any]]]
    presets: list[dict[str, Any]]
    versions: dict[str, str]
    devices: list[str]


class FileError(TypedDict):
    file: str
    error: str


class ImportedParents(TypedDict):
    """import_parents and train. With errors the run is `failed`, and this is there all the same."""

    parents: str | None
    summary: ParentsSummary | None
    errors: list[FileError]


class ImportedData(TypedDict):
    """import_data."""

    data: str
    summary: DataSummary


class Compatibility(TypedDict):
    ok: bool
    reason: str


class Verdict(Compatibility):
    """reason: with the fix; "" if ok. operation, module: what the tracer could not follow, and where; "" where it is
    something else. A parent that does not fit is told apart from the one that most others fit."""

    name: str
    operation: str
    module: str


class Preflight(Structure):
    """preflight. error: why these parents cannot be fused, and the fix. matrix: one line a pair, k x k. verify: largest
    change of an output, relative, by space; all are permuted at once, so it bounds each. sensitivity: the same when the
    inputs change, or None."""

    ok: bool
    error: str | None
    parents: list[Verdict]
    matrix: list[list[Compatibility]]
    verify: dict[str, float]
    sensitivity: float | None
    seconds: float
    warnings: list[str]


class Evaluated(TypedDict, total=False):
    """evaluate. models: {"name", "accuracy", "loss", "per_class"}, the fused network last. The rest is as in
    report.json, the ensembles only where there is more than one parent."""

    models: list[dict[str, Any]]
    ensemble: dict[str, Any]
    softmax_ensemble: dict[str, Any]
    best_parent: dict[str, Any]
    mean_parent: dict[str, Any]
    average: dict[str, Any]
    fused: dict[str, Any]
    test: dict[str, Any]


class Embedded(TypedDict):
    """embed. method: umap or pca. note: a line to show, or "". total: neurons of the space; shown: those in embed.npz,
    coordinates (shown, 2 or 3) float32 and index (shown,) int64 into all."""

    method: str
    note: str
    space: str
    total: int
    shown: int


class Shown(TypedDict):
    """samples. kind: how they are shown: image, row or tokens. notes: for the reader."""

    kind: str
    notes: list[str]


class Scored(TypedDict):
    """scores. methods: those whose scores are in scores.npz, `<method>|<space>|<parent>` (n_p,) float64. skipped: by
    method, why it does not work on these parents."""

    methods: list[str]
    skipped: dict[str, str]
