"""What is where in a bundle, and how much of it there may be. Every name in one is built from, or matched against, what
stands here; none is ever used as a path.

    manifest.json                       {"format", "version", "program", "created", "parents", "data", "runs"}
    parents/<digest>/summary.json       and parent_0.safetensors, ... unless the set goes by its digest alone
    data/<digest>/summary.json          and data.npz, likewise
    runs/<id>/job.json end.json         what was asked for and how it ended; and the run's results
    kept/<kind>/<digest>                changed recipes and edits of the runs, that addresses name
    labels/<digest>.json                names that users gave to neurons of a parent set
"""

import re
from typing import Any, Final, TypedDict

FORMAT: Final = "neuron-fusion-lab bundle"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"

SHARED_KINDS: Final = ("fuse", "leaderboard", "search", "analyse", "explore", "embed", "evaluate")
"""Runs of other kinds (imports, passports, ...) are made again where they are wanted."""

KEPT_KINDS: Final = ("recipe", "edits", "selection")
MOST_KEPT: Final = 1000  # texts of each kind that are looked through, the newest

MOST_BYTES: Final = 2 * 2**30  # of the file, as of all uploads
MOST_UNPACKED: Final = 4 * 2**30
MOST_ENTRIES: Final = 20_000
MOST_RUNS: Final = 2_000
MOST_JSON: Final = 64 * 2**20  # of one JSON or text file
DEEPEST: Final = 40  # nesting of JSON

_ID, _DIGEST = r"\d{8}-\d{6}-\d{3}-[0-9a-f]{8}", r"[0-9a-f]{32}"
RESULT: Final = re.compile(r"[a-z][a-z0-9_]{0,40}\.(json|jsonl|yaml|npz|safetensors|log)")
ENTRY: Final = re.compile(
    rf"manifest\.json"
    rf"|parents/(?P<parents>{_DIGEST})/(summary\.json|parent_\d{{1,2}}\.safetensors)"
    rf"|data/(?P<data>{_DIGEST})/(summary\.json|data\.npz)"
    rf"|runs/(?P<run>{_ID})/(?P<result>{RESULT.pattern})"
    rf"|kept/(?P<kind>{'|'.join(KEPT_KINDS)})/(?P<text>{_DIGEST})"
    rf"|labels/(?P<labels>{_DIGEST})\.json",
    re.ASCII,
)
LEFT_OUT: Final = ("status.json", "events.jsonl", "traceback.txt", "bundle.zip", "died.json")
"""Of a run's folder: what says how it went, not what came out."""


class SetEntry(TypedDict):
    """A parent set or data set. files: whether they are in the bundle; else it goes by its digest alone."""

    id: str
    name: str
    files: bool


class Manifest(TypedDict):
    """manifest.json."""

    format: str
    version: int
    program: str
    created: float
    parents: list[SetEntry]
    data: list[SetEntry]
    runs: list[str]


class FinishedJob(TypedDict):
    """job.json of a run in a bundle."""

    id: str
    kind: str
    arguments: dict[str, Any]
    created: float


class FinishedRun(TypedDict):
    """end.json: how it ended, by whichever attempt."""

    state: str
    started: float | None
    ended: float | None


class Imported(TypedDict):
    """What an import brought, by id. there: what was in this store already, and stays as it is."""

    parents: list[str]
    data: list[str]
    runs: list[str]
    there: list[str]
    texts: int
