"""The kinds of jobs, one file each: their arguments, where their code is, and on which worker they run. This table
imports nothing heavy."""

from dataclasses import dataclass

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """One kind of job.

    module: the module whose `run(arguments, folder, progress)` does the work and writes its results to folder.
    arguments: names a job of this kind may have. light: runs on the worker kept free for short interactive
    jobs. cached: the same arguments give the same result, so an earlier run is returned. parts: `run` only plans; the
    module's `parts(run)` are then done one by one by its `run_part`, on as many workers as there are for long jobs.
    chained: what the next part is, the end of the one before says.
    """

    module: str
    arguments: tuple[str, ...]
    light: bool = False
    cached: bool = False
    parts: bool = False
    chained: bool = False


KINDS: dict[str, Kind] = {
    "import_parents": Kind(
        "fusion_engine.jobs.kinds.import_parents",
        ("upload", "demo", "paths", "arch", "input_shape", "weights", "name", "base"), light=True,
    ),
    "import_data": Kind("fusion_engine.jobs.kinds.import_data", ("upload", "source", "name"), light=True),
    "preflight": Kind(
        "fusion_engine.jobs.kinds.preflight", ("parents", "input_shape", "seed", "data"), light=True, cached=True
    ),
    "train": Kind(
        "fusion_engine.jobs.kinds.train", ("arch", "data", "parents", "regime", "epochs", "seed", "name")
    ),
    "fuse": Kind(
        "fusion_engine.jobs.kinds.fuse",
        ("parents", "data", "test", "recipe", "samples", "seed", "device", "base", "from_run"),
    ),
    "explore": Kind(
        "fusion_engine.jobs.kinds.exploring.explore",
        ("parents", "data", "samples", "importance", "grouping", "edits", "seed"),
        light=True,
        cached=True,
    ),
    "scores": Kind(
        "fusion_engine.jobs.kinds.exploring.scores",
        ("parents", "data", "samples", "seed", "importances"),
        light=True,
        cached=True,
    ),
    "passport": Kind(
        "fusion_engine.jobs.kinds.exploring.passport",
        ("parents", "data", "samples", "seed", "space", "run", "neurons", "silence", "test"),
        light=True,
        cached=True,
    ),
    "analyse": Kind(
        "fusion_engine.jobs.kinds.analyse",
        ("parents", "data", "run", "what", "align", "samples", "seed", "device"),
        cached=True,
    ),
    "embed": Kind(
        "fusion_engine.jobs.kinds.exploring.embed",
        ("run", "space", "neighbours", "min_dist", "metric", "dimensions", "seed"),
        light=True,
        cached=True,
    ),
    "leaderboard": Kind(
        "fusion_engine.jobs.kinds.leaderboard",
        ("parents", "data", "test", "presets", "importances", "seeds", "samples", "device", "base"),
        light=True,
        parts=True,
    ),
    "difference": Kind(
        "fusion_engine.jobs.kinds.comparing.difference",
        ("first", "second", "data", "samples", "align", "seed", "device"), cached=True,
    ),
    "samples": Kind("fusion_engine.jobs.kinds.comparing.samples", ("data", "indices"), light=True, cached=True),
    "search": Kind(
        "fusion_engine.jobs.kinds.search.job",
        ("parents", "data", "held_out", "test", "recipe", "dimensions", "trials", "seconds", "samples", "seed",
         "device", "base"),
        light=True,
        parts=True,
        chained=True,
    ),
    "export_bundle": Kind(
        "fusion_engine.jobs.kinds.sharing.export_bundle", ("parents", "runs", "with_parents", "with_data"), light=True
    ),
    "import_bundle": Kind("fusion_engine.jobs.kinds.sharing.import_bundle", ("upload",), light=True),
    "lesson": Kind("fusion_engine.jobs.kinds.lesson", ("points", "seed"), light=True, cached=True),
    "evaluate": Kind("fusion_engine.jobs.kinds.evaluate", ("parents", "run", "data", "device"), light=True),
}
