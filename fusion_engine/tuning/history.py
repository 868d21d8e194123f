"""The finished trials of a search, and what it tries next: Optuna's TPE (Bergstra et al. 2011), with a journal on disk.

Only finished trials are ever written, each as one line. What comes next depends on them and on the seed alone, so a
search that was killed goes on with the trials that it would have made anyway.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ..core.errors import FusionError, StoreError
from ..core.seeds import stream_seed
from .space import Dimension

if TYPE_CHECKING:
    import optuna

    from .plan import SearchPlan
    from .shapes import Trial

JOURNAL = "trials.log"
_NAME, _RECORD, _PLAN = "search", "record", "plan"
_AT_RANDOM = 10  # trials before the sampler looks at those before


class History:
    """Opens the journal in `folder` (None: in memory), under a lock until `close`: one process at a time.

    Raises FusionError in one line where another search is at work there, or where the journal is of another one.
    """

    def __init__(self, plan: SearchPlan, folder: Path | None = None) -> None:
        self._plan = plan
        self._lock = None if folder is None else FileLock(folder / "search.lock", mode=0o600)
        if self._lock is not None:
            try:
                self._lock.acquire(timeout=1.0)
            except Timeout:
                raise FusionError("another search is at work in this folder; wait for it, or give another") from None
        try:
            self._study = _opened(plan, None if folder is None else folder / JOURNAL)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def trials(self) -> list[Trial]:
        """The finished trials, in their order."""
        return _records(self._study)

    def ask(self) -> dict[str, Any]:
        """Settings of the next trial; those of the first are the recipe's own: {}."""
        import optuna

        found = self._study.get_trials(deepcopy=False)
        if not found:
            return {}
        # A sampler and a study of its own for every trial: neither remembers what a killed process had asked.
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=_AT_RANDOM, seed=stream_seed(self._plan.seed, "search", len(found)) % 2**32
        )
        study = optuna.create_study(sampler=sampler)
        study.add_trials(found)
        dimensions = self._plan.dimensions
        trial = study.ask({d.path: _distribution(d) for d in dimensions})
        return {d.path: d.rounded(_plain(d, trial.params[d.path])) for d in dimensions}

    def tell(self, record: Trial) -> None:
        """Write down a finished trial."""
        import optuna

        values = {d.path: record["settings"].get(d.path, d.start) for d in self._plan.dimensions}
        held = [d for d in self._plan.dimensions if d.holds(values[d.path])]
        done = record["loss"] is not None
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.FAIL,
            value=record["loss"] if done else None,
            params={d.path: _told(d, values[d.path]) for d in held},
            distributions={d.path: _distribution(d) for d in held},
            user_attrs={_RECORD: json.dumps(record, allow_nan=False)},
        )
        with _writing():
            self._study.add_trial(trial)


def read_trials(folder: Path) -> list[Trial]:
    """The finished trials of a journal, without a lock and whatever search they are of; none if there is no journal."""
    path = folder / JOURNAL
    if not path.is_file() or not _begun(path):
        return []
    import optuna

    with _undamaged(path):
        return _records(optuna.load_study(study_name=_NAME, storage=_storage(path)))


def _opened(plan: SearchPlan, path: Path | None) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if path is None:
        study = optuna.create_study(study_name=_NAME)
    else:
        _mend(path)
        with _undamaged(path):
            study = optuna.create_study(study_name=_NAME, storage=_storage(path), load_if_exists=True)
            _records(study)
    written = json.dumps(plan.identity(), sort_keys=True)
    known = study.user_attrs.get(_PLAN)
    if known is None:
        with _writing():
            study.set_user_attr(_PLAN, written)
    elif known != written:
        raise FusionError(
            "the search in this folder is of another recipe, space, seed, parents or data; give another folder"
        )
    return study


def _records(study: optuna.Study) -> list[Trial]:
    return [json.loads(trial.user_attrs[_RECORD]) for trial in study.get_trials(deepcopy=False)]


def _begun(path: Path) -> bool:
    """Whether a journal has a whole line: one of a disk that was full as it began has none."""
    with path.open("rb") as file:
        return file.readline().endswith(b"\n")


@contextlib.contextmanager
def _undamaged(path: Path) -> Any:
    """Around reading a journal: whatever Optuna finds wrong becomes one line."""
    import optuna

    try:
        yield
    except OSError:
        raise StoreError(f"{path.name}: the journal of this search cannot be read or written") from None
    except (
        ValueError, LookupError, TypeError, AttributeError, AssertionError, NotImplementedError,
        optuna.exceptions.OptunaError,
    ):
        raise StoreError(f"{path.name}: the journal of this search is damaged; begin it anew") from None


def _storage(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _mend(path: Path) -> None:
    """Take away what a killed writer left: half a line, which the next one would be joined to, and Optuna's own lock,
    for which it would wait half a minute. Nobody else writes: our lock is held."""
    with contextlib.suppress(OSError):
        Path(f"{path}.lock").unlink()
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())


@contextlib.contextmanager
def _writing() -> Any:
    try:
        yield
    except OSError as problem:
        raise StoreError(f"the search cannot be written ({problem.strerror or type(problem).__name__})") from problem


def _distribution(dimension: Dimension) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if dimension.kind == "choice":
        return CategoricalDistribution([_told(dimension, choice) for choice in dimension.choices])
    if dimension.kind == "int":
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _told(dimension: Dimension, value: Any) -> Any:
    """A value as Optuna keeps it: choices by their place, as it takes True and 1 for the same."""
    if dimension.kind != "choice":
        return value
    return next(i for i, choice in enumerate(dimension.choices) if choice == value and type(choice) is type(value))


def _plain(dimension: Dimension, value: Any) -> Any:
    return dimension.choices[value] if dimension.kind == "choice" else value


