"""Which of the sets of weights in a file is read: the one that is asked for, or the only one that is meant."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..architectures.fitting import averaged, is_averaged, listed, offered
from ..core.errors import ParentError
from .files import Record, WeightSet, is_nested, joined

AVERAGED = "ema"
"""What averaged weights are asked for by, whatever they are called."""

# Keys under which every checkpoint has its weights: reading those needs no word.
_USUAL = frozenset({
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params", "module",
    "state", "model_dict", "net_state_dict",
})


def choose(
    sets: Sequence[WeightSet], asked: str | None, fits: Callable[[WeightSet], bool] | None
) -> tuple[WeightSet, tuple[str, ...]]:
    """The set to read, and notes on the choice.

    asked: the key of a set in the checkpoint, a prefix of names of tensors, or 'ema' for averaged weights. fits:
    whether a set fills the network that the user named; None where nobody has named one. Without `asked` averaged
    weights are read only where there are no others. ParentError: nothing is called that, or several may be meant.
    """
    if asked is not None:
        chosen = _asked(sets, asked)
        return chosen, (f"read the weights {_place(chosen, asked)}",)
    plain = [each for each in sets if not is_averaged(each.path)]
    copies = [each for each in sets if is_averaged(each.path)]
    chosen = _only(_distinct(plain or copies), fits)
    notes = []
    if chosen.path and not _USUAL.issuperset(chosen.path.split(".")):
        only = ", the only ones in the file" if len(sets) == 1 else ""
        notes.append(f"read the weights {_place(chosen, chosen.path)}{only}")
    if plain and copies:
        notes.append(offered(copies[0].path))
    return chosen, tuple(notes)


def _only(sets: list[WeightSet], fits: Callable[[WeightSet], bool] | None) -> WeightSet:
    if len(sets) == 1:
        return sets[0]
    whole = joined(sets) if is_nested(sets) or fits is not None else None
    if fits is not None and whole is not None:
        fitting = [each for each in sets if fits(each)]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and fits(whole):
            return whole
        sets = fitting or sets
    elif whole is not None:
        return whole
    names = ", ".join(each.path or "the file itself" for each in sets[:8])
    example = sets[-1].path
    raise ParentError(f"the file holds several sets of weights ({names}); choose one, such as --weights {example}")


def _asked(sets: Sequence[WeightSet], asked: str) -> WeightSet:
    named = [each for each in sets if asked in (each.path, each.path.rpartition(".")[2])]
    if not named and asked.lower() == AVERAGED:
        named = [each for each in sets if is_averaged(each.path)]
        named = named or [each for each in sets if any(name.split(".")[-1] == "n_averaged" for name in each.records)]
    named = _distinct(named) or [part for each in sets for part in _under(each, asked)]
    if len(named) == 1:
        return named[0]
    if named:
        raise ParentError(f"several weights are called {asked!r} ({', '.join(each.path for each in named[:8])})")
    known = [each.path for each in sets if each.path]
    known += dict.fromkeys(name.partition(".")[0] for each in sets for name in each.records if "." in name)
    raise ParentError(f"no weights in the file are called {asked!r}; there are {listed(known) or 'none with a name'}")


def _under(each: WeightSet, asked: str) -> list[WeightSet]:
    """The tensors of a set whose names begin with `asked`, or those that are kept as averages."""
    prefixes = {f"{asked}."}
    if asked.lower() == AVERAGED and not any(name.startswith(f"{asked}.") for name in each.records):
        prefixes = {f"{place}." for place in map(averaged, each.records) if place}
    found = []
    for prefix in sorted(prefixes):
        part = {name: record for name, record in each.records.items() if name.startswith(prefix)}
        if part:
            found.append(replace(each, path=prefix[:-1], records=_with_dots(prefix, part, each.records), modules=()))
    return found


def _with_dots(prefix: str, part: Mapping[str, Record], whole: Mapping[str, Record]) -> dict[str, Record]:
    """Tensors under a prefix; where their names have lost their dots, as some keep averages, with those of the names
    that they were made from."""
    ends = {e.replace(".", ""): e for n in whole if n not in part for e in _endings(n) if "." in e}
    return {
        f"{prefix}{ends.get(tail, tail)}": record
        for tail, record in ((name.removeprefix(prefix), record) for name, record in part.items())
    }


def _endings(name: str) -> list[str]:
    """A name without its first part, its first two parts, and so on, and the whole."""
    parts = name.split(".")
    return [".".join(parts[i:]) for i in range(len(parts))]


def _distinct(sets: Sequence[WeightSet]) -> list[WeightSet]:
    """Without those that hold the very same tensors: a checkpoint may keep a module and its state dict."""
    found: list[WeightSet] = []
    for each in sorted(sets, key=lambda each: not each.modules):
        if not any(each.records == other.records for other in found):
            found.append(each)
    return sorted(found, key=list(sets).index)


def _place(chosen: WeightSet, asked: str) -> str:
    shown = "".join(letter for letter in (chosen.path or asked)[:80] if letter.isprintable())
    return f"under {shown!r}"
