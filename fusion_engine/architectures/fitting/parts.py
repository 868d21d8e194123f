"""The parts of a state dict that may be a whole network by themselves, for recognition by names and shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from .foreign import averaged, is_foreign, listed, offered
from .plain_names import plain_names


@dataclass(frozen=True)
class Part:
    """names: name to recognise -> name in the file. beside: names in the file that are not the network's. notes: what
    is worth saying of what was left out."""

    names: Mapping[str, str]
    beside: tuple[str, ...]
    notes: tuple[str, ...]


def own_parts(state: Mapping[str, Tensor]) -> Iterator[Part]:
    """All of a state dict first, then without what names say is of losses, metrics and counters; each under its names
    in the file, then without what wrappers put into them. Averaged copies never are parts of a network beside them."""
    copies = _copies(state)
    whole = [name for name in state if name not in copies]
    said = (offered(averaged(copies[0]) or ""),) if copies else ()
    foreign = [name for name in whole if is_foreign(name, state[name])]
    for beside in ((), tuple(foreign)) if foreign else ((),):
        own = [name for name in whole if name not in beside]
        notes = (*said, f"not the network's, and not fused: {listed(beside)}") if beside else said
        yield Part(dict(zip(own, own, strict=True)), beside, notes)
        plain = plain_names(own)
        if plain is not None and any(name != short for name, short in plain.items()):
            yield Part({short: name for name, short in plain.items()}, beside, notes)


def _copies(state: Mapping[str, Tensor]) -> list[str]:
    """Names of averaged copies of other tensors, and of what counts their steps: no layer that is only called so."""
    places = {name: place for name in state if (place := averaged(name)) is not None}
    ends = {name.split(".", i)[-1] for name in state if name not in places for i in range(name.count(".") + 1)}
    ends |= {end.replace(".", "") for end in ends}  # some keep averages under names without dots
    tails = {name: name.removeprefix(f"{place}.") for name, place in places.items()}
    short = plain_names(tails.values()) or {}
    return [n for n, tail in tails.items() if ends & {tail, short.get(tail, tail)} or is_foreign(tail, state[n])]
