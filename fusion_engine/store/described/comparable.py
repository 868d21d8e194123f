"""Which runs can be compared: those of the same parents, measured on the same samples, both told by content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion_engine.core.errors import StoreError

from ..runs import read_job
from ..sets import read_parents_summary


@dataclass(frozen=True)
class Ground:
    """What a run's figures stand on. parents: digests of the parents' weights, sorted; of a set that is gone, its id.
    test: id of the test data, a digest of its content, or the name of built-in samples; '' where nothing was measured.
    """

    parents: tuple[str, ...]
    test: str

    def differs(self, other: "Ground") -> str:
        """In which way runs of the two cannot be compared, in words; '' if they can."""
        ways = [
            name for name, one, two in (
                ("other parents", self.parents, other.parents), ("other test data", self.test, other.test),
            ) if one != two
        ]
        return " and ".join(ways)


def ground(run: str) -> Ground:
    """Of a fuse run. StoreError if there is no such run."""
    arguments = read_job(run)["arguments"]
    parents = str(arguments.get("parents"))
    try:
        weights = tuple(sorted(str(parent["digest"]) for parent in read_parents_summary(parents)["parents"]))
    except (StoreError, KeyError):
        weights = (parents,)
    return Ground(weights, str(arguments.get("test") or ""))


def said_apart(names: Mapping[str, str], runs: Mapping[str, Ground], first: str) -> str:
    """'average and kf have other test data': which of the runs cannot be compared with `first`, and why; '' for none.
    """
    ways: dict[str, list[str]] = {}
    for run, own in runs.items():
        if way := runs[first].differs(own):
            ways.setdefault(way, []).append(names[run])
    return "; ".join(f"{_joined(found)} {'has' if len(found) == 1 else 'have'} {way}" for way, found in ways.items())


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
