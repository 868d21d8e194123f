"""The parts of a state dict that may be a whole network by themselves, for recognition by names and shapes."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from .foreign import averaged, is_foreign, listed, offered
from .plain_names import plain_names


@dataclass(frozen=True)
class Part:
    """names: name to recognise -> name in the file. beside: names in the file that are not the network's. copies: name
    in the file of an averaged copy -> of what it is a copy. notes: what is worth saying of what was left out."""

    names: Mapping[str, str]
    beside: tuple[str, ...]
    copies: Mapping[str, str]
    notes: tuple[str, ...]


def own_parts(state: Mapping[str, Tensor]) -> Iterator[Part]:
    """All of a state dict first, then without what names say is of losses, metrics and counters; each under its names
    in the file, then without what wrappers put into them. Averaged copies never are parts of a network beside them."""
    places = {name: place for name in state if (place := averaged(name)) is not None}
    copies = twins(places, [name for name in state if name not in places])
    # What is under the same name and no copy counts steps; any other is a layer that is only called so.
    aside = [n for n, place in places.items() if copies and (n in copies or is_foreign(n[len(place) :], state[n]))]
    whole = [name for name in state if name not in aside]
    said = (offered(next(places[name] for name in copies)),) if copies else ()
    counters = tuple(name for name in aside if name not in copies)
    foreign = [name for name in whole if is_foreign(name, state[name])]
    for beside in ((), tuple(foreign)) if foreign else ((),):
        own = [name for name in whole if name not in beside]
        notes = (*said, f"not the network's, and not fused: {listed(beside)}") if beside else said
        yield Part(dict(zip(own, own, strict=True)), (*beside, *counters), copies, notes)
        plain = plain_names(own)
        if plain is not None and any(name != short for name, short in plain.items()):
            yield Part({short: name for name, short in plain.items()}, (*beside, *counters), copies, notes)


def twins(places: Mapping[str, str], own: Iterable[str]) -> dict[str, str]:
    """Averaged copy -> the one of `own` that it is a copy of, by the ends of their names; some keep averages under
    names without dots. places: name -> the part of it up to the module of averages."""
    ends: dict[str, set[str]] = {}
    for name in own:
        parts = name.split(".")
        for i in range(len(parts)):
            for end in {".".join(parts[i:]), "".join(parts[i:])}:
                ends.setdefault(end, set()).add(name)
    tails = {name: name.removeprefix(f"{place}.") for name, place in places.items()}
    short = plain_names(tails.values()) or {}
    found = {name: ends.get(tail) or ends.get(short.get(tail, tail), set()) for name, tail in tails.items()}
    return {name: next(iter(originals)) for name, originals in found.items() if len(originals) == 1}
