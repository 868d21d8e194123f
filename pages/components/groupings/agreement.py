"""How much two rankings or two groupings of the same neurons agree. Pure functions from arrays."""

import numpy as np


def ranks(values: np.ndarray) -> np.ndarray:
    """(T,) ranks from 1, the largest value first; equal values share the mean of their ranks."""
    _, place, counts = np.unique(-np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[place])


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Rank correlation of Spearman (1904), ties by mean ranks; not-a-number where all values of one are equal."""
    a, b = (own - own.mean() for own in (ranks(first), ranks(second)))
    spread = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / spread if spread > 0 else float("nan")


def flows(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """first, second: (T,) groups of the same neurons. (m,) group in the first, in the second and number of neurons of
    each pair of groups that shares neurons."""
    pairs, counts = np.unique(np.stack([first, second], 1), axis=0, return_counts=True)
    return pairs[:, 0], pairs[:, 1], counts


def adjusted_rand(first: np.ndarray, second: np.ndarray) -> float:
    """Rand index adjusted for chance (Hubert & Arabie 1985): 1 for the same groups under any numbers, 0 on average for
    groups at random."""
    _, _, both = flows(first, second)
    one, other = (_pairs(np.unique(own, return_counts=True)[1]) for own in (first, second))
    together, every = _pairs(both), _pairs(np.array([len(first)]))
    expected = one * other / every if every else 0.0
    most = (one + other) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def matched(first: np.ndarray, second: np.ndarray) -> dict[int, int]:
    """To each group of the first one of the second, each taken once, largest overlaps first; some have none."""
    a, b, counts = flows(first, second)
    found: dict[int, int] = {}
    taken: set[int] = set()
    for place in np.argsort(-counts, kind="stable"):
        mine, theirs = int(a[place]), int(b[place])
        if mine not in found and theirs not in taken:
            found[mine] = theirs
            taken.add(theirs)
    return found


def moved(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T,) whether a neuron has left: it is not in the group that its own was matched with."""
    same = matched(first, second)
    return np.array([same.get(int(a)) != int(b) for a, b in zip(first, second, strict=True)], bool)


def mates_changed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T,) Jaccard distance between the groups a neuron is in, itself a member: 0 the same mates, near 1 few kept."""
    a, b, counts = flows(first, second)
    shared = {(int(i), int(j)): int(n) for i, j, n in zip(a, b, counts, strict=True)}
    both = np.array([shared[i, j] for i, j in zip(first.tolist(), second.tolist(), strict=True)])
    return np.asarray(1 - both / (_sizes(first) + _sizes(second) - both))


def _sizes(groups: np.ndarray) -> np.ndarray:
    """(T,) how many neurons the group of each has."""
    _, place, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(counts[place])


def _pairs(counts: np.ndarray) -> float:
    whole = counts.astype(np.float64)
    return float((whole * (whole - 1) / 2).sum())
