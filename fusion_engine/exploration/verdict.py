"""How good a grouping is, in figures and in one sentence: what is said of a space before any chart.

A group's or neuron's share is its part of the space's importance; what it loses is the part of its variance that is
gone once it is merged and unmerged. The cost of a grouping is the sum over groups of share x lost: 0 loses nothing, 1
everything. Severity (`POOR`, `FAIR`): poor where the cost or what the most important group loses is over 1/2, or fewer
than 1/3 of the groups in use mix parents; fair over 1/5 or under 2/3; good otherwise. Soft groupings, where all parents
may take part in every group, and networks of one parent are judged by what is lost alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusion_engine.core.neurons import Neuron
from fusion_engine.store.shapes import NetworkVerdict, Severity, Verdict, WorstGroup, WorstNeuron

# (most that may be lost, least share of groups that mix parents)
POOR, FAIR = (1 / 2, 1 / 3), (1 / 5, 2 / 3)
_LISTED = 5
_ORDER: tuple[Severity, ...] = ("poor", "fair", "good")


def verdict(arrays: Mapping[str, NDArray[Any]], *, hard: bool) -> Verdict:
    """Of one space.

    arrays: parent, neuron, importance, lost (T,); group_members (n, K), group_importance and group_error (n,), as in
    explore.npz. hard: whether the grouping has labels.
    """
    members, lost = arrays["group_members"], arrays["group_error"]
    total, parents = members.sum(1), (members > 0).sum(1)
    whole = max(float(arrays["importance"].sum()), 1e-300)
    shares, own = arrays["group_importance"] / whole, arrays["importance"] / whole
    cost = shares * lost
    groups = [
        WorstGroup(group=int(g), share=float(shares[g]), lost=float(lost[g]))
        for g in np.argsort(-cost, kind="stable")[:_LISTED] if cost[g] > 0
    ]
    price = own * arrays["lost"]
    neurons = [
        WorstNeuron(
            neuron=str(Neuron(int(arrays["parent"][i]), int(arrays["neuron"][i]))), share=float(own[i]),
            lost=float(arrays["lost"][i]),
        )
        for i in np.argsort(-price, kind="stable")[:_LISTED] if price[i] > 0
    ]
    first = int(np.argmax(shares)) if len(shares) else None
    found: Verdict = {
        "groups": len(total),
        "mixed": int((parents > 1).sum()),
        "several": int((members > 1).any(1).sum()),
        "one_parent": int((parents == 1).sum()),
        "single": int((total == 1).sum()),
        "empty": int((total == 0).sum()),
        "cost": float(cost.sum()),
        "concentration": float(np.sort(own)[::-1][: math.ceil(len(own) / 10)].sum()),
        "first": None if first is None else
            WorstGroup(group=first, share=float(shares[first]), lost=float(lost[first])),
        "worst_groups": groups,
        "worst_neurons": neurons,
        "severity": "good",
        "sentence": "",
    }
    several = members.shape[1] > 1
    found["severity"] = _severity(found, judge_mixing=hard and several)
    found["sentence"] = _sentence(found, several=several)
    return found


def network_verdict(spaces: Sequence[tuple[str, Verdict]]) -> NetworkVerdict:
    """Of all spaces, given with their names: the worst first."""
    ranked = sorted(spaces, key=lambda entry: (_ORDER.index(entry[1]["severity"]), -entry[1]["cost"]))
    if not ranked:
        return {"severity": "good", "worst": [], "sentence": "This network has no spaces that could be grouped."}
    worst, of_worst = ranked[0]
    severity = of_worst["severity"]
    alike = sum(v["severity"] == severity for _, v in ranked)
    lost = f"{_lost(of_worst['cost'], 'the variance')}, weighed by importance"
    if len(ranked) == 1:
        sentence = f"The only space is {_WORDS[severity]}: it loses {lost}."
    else:
        verb = "is" if alike == 1 else "are"
        sentence = f"{alike} of {len(ranked)} spaces {verb} {_WORDS[severity]}; the worst, {worst}, loses {lost}."
    return {"severity": severity, "worst": [name for name, _ in ranked], "sentence": sentence}


_WORDS: Mapping[Severity, str] = {"poor": "grouped poorly", "fair": "grouped fairly", "good": "grouped well"}


def _severity(found: Verdict, *, judge_mixing: bool) -> Severity:
    lost = max(found["cost"], found["first"]["lost"] if found["first"] else 0.0)
    used = found["groups"] - found["empty"]
    mixed = found["mixed"] / used if judge_mixing and used else 1.0
    if lost > POOR[0] or mixed < POOR[1]:
        return "poor"
    return "fair" if lost > FAIR[0] or mixed < FAIR[1] else "good"


def _sentence(found: Verdict, *, several: bool) -> str:
    groups = found["groups"]
    parts = [f"{found['single']} of {groups} groups {'holds' if found['single'] == 1 else 'hold'} one neuron"]
    if several:
        parts.append(f"{found['mixed']} {'mixes' if found['mixed'] == 1 else 'mix'} parents")
    if found["empty"]:
        parts.append(f"{found['empty']} {'is' if found['empty'] == 1 else 'are'} empty")
    if found["first"] is not None:
        parts.append(f"the most important group loses {_lost(found['first']['lost'], 'its variance')}")
    if found["worst_groups"] and found["worst_groups"][0] != found["first"]:
        worst = found["worst_groups"][0]
        parts.append(
            f"group {worst['group']} costs most: it has {_percent(worst['share'])} of the importance and loses "
            f"{_lost(worst['lost'], 'its variance')}"
        )
    return "; ".join(parts) + "."


def _lost(share: float, of: str) -> str:
    """'86 % of its variance'. Merging can lose more than there is: the fused neuron, multiplied out again, is further
    from its neurons than their means are."""
    if round(100 * share) <= 100:
        return f"{_percent(share)} of {of}"
    return f"more than all of {of} ({_percent(share)}: constants would do better)"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
