"""A neuron's passport, drawn from what jobs have found out: nothing is computed here but pictures of what they kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from fusion_engine import store
from fusion_engine.exploration.edit_preview import second_best

from ..plane.measured import scores_of
from ..run import progress
from ..shared import state
from ..shared.page_frame import existing
from ..shared.space import SpaceView, load
from ..shared.tables import table
from ..shared.text import count, escaped, percent, plain
from ..shared.theme import show
from . import charts, found, pictures
from .found import Found

_PARTS = ("Classes", "Group", "Reads", "Scores", "Without it")
_MOST_MATES = 6

Choose = Callable[[int], None]
"""Called with the index of another neuron that is to be looked at."""


def draw(view: SpaceView, neuron: int | None, choose: Choose | None = None, below: Any = None) -> None:
    """The passport below its head, of the neuron at this index into the view's arrays; without one, its work is begun.

    choose: makes the members of its group buttons that open their passports. below: a container as wide as the page,
    for what is more than what it is called and what excites it; without one that comes beneath.
    """
    if neuron is None or neuron < 0:
        progress.remembered("passport", found.arguments(view))  # so that the first click finds it done
        st.caption("What excites a neuron, its classes, what it reads, its group, and what is lost without it.")
        return
    run = found.finished("passport", found.arguments(view), "Showing samples to the neurons of this space", 3)
    if run is None:
        return
    here = found.read(run)
    if list(here.info["sizes"]) != list(view.space["sizes"]):
        st.caption("What was found out is about other neurons than these; explore these parents again.")
        return
    _inputs(view, here, neuron)
    with below or st.container():
        if below is not None:
            st.subheader(plain(f"{view.space['name']}/{view.label(neuron)}"), anchor=False)
        _parts(view, here, neuron, choose, below is not None)


def head(view: SpaceView, neuron: int | None) -> None:
    """The neuron's name, its link, and what the grouping itself knows of it: it waits for no job."""
    if neuron is None or neuron < 0:
        return
    name, link = st.columns([5, 3], vertical_alignment="center")
    label = f"{view.space['name']}/{view.label(neuron)}"
    name.html(f'<div class="passport-name">{escaped(label)}</div>')
    with link.popover("Link", icon=":material/link:", width="stretch"):
        st.caption("This neuron, for whoever opens it with the same parents:")
        st.code(found.link(view, neuron), language=None, wrap_lines=True)
        st.caption("Its name, as it is typed, pasted and used by the command line:")
        st.code(label, language=None, wrap_lines=True)
    arrays = view.arrays
    parent, importance, group = int(arrays["parent"][neuron]), arrays["importance"], int(arrays["group"][neuron])
    mine = importance[arrays["parent"] == parent]
    facts = {
        "Importance": f"{importance[neuron]:.3g}, rank {int((mine > importance[neuron]).sum()) + 1} of {len(mine)} "
        "in its parent",
        "Pre-activation": f"mean {arrays['mean'][neuron]:.2f}, standard deviation {arrays['std'][neuron]:.2f}",
    }
    if group < 0:
        facts["Group"] = "none: this neuron is not used"
    else:
        others = int(arrays["group_members"][group].sum()) - 1
        facts["Group"] = f"{group}, alone" if not others else (
            f"{group}, with {count(others, 'other')}; merging loses {percent(float(arrays['group_error'][group]))} "
            "of the group's variance"
        )
    st.html('<div class="facts">' + "".join(f"<span>{k}</span><div>{v}</div>" for k, v in facts.items()) + "</div>")


def _inputs(view: SpaceView, here: Found, neuron: int) -> None:
    """The samples that excite it most and least."""
    can_look = here.info["kind"] != "tokens"
    st.session_state.setdefault("passport-look", False)
    over = st.toggle(
        "Where it looks", key="passport-look", disabled=not can_look,
        help="Drawn over its top inputs: the neuron's own map where it is of a convolution, else gradient times input "
        "(orange for, blue against).",
    )
    known = found.looks(view, [neuron]) if over and can_look else None
    label = str(view.neuron_of(neuron))
    how = known[0]["how"].get(label) if known else None
    maps = known[1].get(label) if known else None
    most, least = strip(here, neuron, "top", maps, how == "gradient"), strip(here, neuron, "bottom")
    label_of = '<p class="passport-label">{}</p>{}'
    st.html(label_of.format("Excite it most", most) + label_of.format("Excite it least", least))
    if known and not how:
        st.caption(plain(known[0]["reason"].get(label, "")))
    where = "" if not here.info["grid"] else ", the largest over its map"
    lines = [f"Of {count(here.info['sampled'], 'sample')}, by its pre-activation at {here.info['read']}{where}."]
    st.caption(plain(" ".join([*lines, *here.info["notes"]])))
    with st.expander("As a table"):
        arrays, columns = here.arrays, {}
        for part, name in (("top", "most"), ("bottom", "least")):
            columns |= {
                f"Sample, {name}": arrays[part][neuron], f"Class, {name}": arrays["labels"][arrays[part][neuron]],
                f"Value, {name}": arrays[f"{part}_value"][neuron],
            }
            if here.info["grid"]:
                places = np.unravel_index(arrays[f"{part}_at"][neuron], here.info["grid"])
                columns[f"At, {name}"] = [", ".join(map(str, place)) for place in np.stack(places, 1).tolist()]
        table(columns, alt="The samples that excite this neuron most and least, with class and value")


def strip(
    here: Found, neuron: int, part: str, looks: np.ndarray | None = None, signed: bool = False, small: int = 8
) -> str:
    """Samples beside each other, as HTML; `part` is 'top' or 'bottom'."""
    arrays, cells = here.arrays, []
    for place, number in enumerate(arrays[part][neuron][:small].tolist()):
        label, value = int(arrays["labels"][number]), float(arrays[f"{part}_value"][neuron, place])
        what = f"class {label}" if label >= 0 else f"sample {number}"
        look = None if looks is None else looks[place]
        picture = _picture(here, number, f"sample {number}, {what}: {value:.3g}", look, signed)
        cells.append(f"<figure>{picture}<figcaption>{escaped(what)}<br>{value:.3g}</figcaption></figure>")
    return f'<div class="strip">{"".join(cells)}</div>'


def _picture(here: Found, number: int, alt: str, look: np.ndarray | None, signed: bool) -> str:
    kept = here.picture_of(number)
    if here.info["kind"] == "tokens":
        return f'<code title="{escaped(alt)}">{escaped(" ".join(map(str, kept.ravel()[:24].tolist())))}</code>'
    if here.info["kind"] == "image":
        pixels = pictures.sample(kept, look, signed)
    else:
        every = here.arrays["samples"].reshape(len(here.arrays["samples"]), -1)
        pixels = pictures.row(kept, every.min(0), every.max(0))
        shown = ", ".join(f"{v:.3g}" for v in kept.ravel()[:40].tolist())
        alt = f"{alt}. Values: {shown}"
    return f'<img src="{pictures.png(pixels)}" alt="{escaped(alt)}" title="{escaped(alt)}">'


def _parts(view: SpaceView, here: Found, neuron: int, choose: Choose | None, wide: bool) -> None:
    """Everything else, one part at a time: what is not open is not drawn, so that a click is answered at once."""
    st.session_state.setdefault("passport-part", _PARTS[0])
    draws: Sequence[Callable[[], None]] = (
        lambda: _classes(here, neuron),
        lambda: _group(view, here, neuron, choose, wide),
        lambda: _reads(view, here, neuron),
        lambda: _scores(view, neuron),
        lambda: _without(view, here, neuron, wide),
    )
    for tab, draw_part in zip(st.tabs(list(_PARTS), key="passport-part", on_change="rerun"), draws, strict=True):
        if tab.open:
            with tab:
                draw_part()


def _classes(here: Found, neuron: int) -> None:
    arrays, labelled = here.arrays, bool(here.info["labelled"])
    mean, quantiles, preferred = arrays["mean"][neuron], arrays["quantiles"][neuron], int(arrays["preferred"][neuron])
    if labelled:
        st.markdown(f"Prefers **class {preferred}**, selectivity {float(arrays['selectivity'][neuron]):.2f} of 1")
    chart = charts.by_class(mean, quantiles, preferred, labelled)
    alt = "How the neuron answers to each class: middle half, median, and 5 to 95 %"
    show(chart, alt, f"classes-{here.run}-{neuron}")
    said = "Its largest pre-activation in a sample."
    if labelled:
        said += (
            " The preferred class is filled. Selectivity: (best class - mean of the others) / (their sum), of means "
            "rectified at 0 (Morcos et al. 2018)."
        )
    st.caption(said)
    with st.expander("As a table"):
        there = np.flatnonzero(~np.isnan(mean))
        columns = {"Class": there if labelled else ["all samples"], "Mean": mean[there]}
        columns |= {"Deviation": arrays["std"][neuron][there]}
        columns |= {name: quantiles[there, at] for at, name in ((0, "5 %"), (2, "Median"), (4, "95 %"))}
        table(columns, alt="The neuron's answers by class")


def _group(view: SpaceView, here: Found, neuron: int, choose: Choose | None, wide: bool) -> None:
    groups = view.arrays["group"]
    group = int(groups[neuron])
    mates = [int(i) for i in np.flatnonzero(groups == group) if i != neuron] if group >= 0 else []
    mates.sort(key=lambda i: -float(view.arrays["importance"][i]))
    if group < 0:
        st.caption("It is in no group: the fused network does without it.")
    elif not mates:
        st.caption("It is alone in its group.")
    shown = [neuron, *mates[:_MOST_MATES]] if wide and mates else mates[:_MOST_MATES]
    places = st.columns(2, gap="large") if wide and shown else [st.container()]
    for number, mate in enumerate(shown):
        with places[number % len(places)]:
            _mate(view, here, neuron, mate, choose)
    if len(mates) > _MOST_MATES:
        st.caption(f"The {_MOST_MATES} most important of {len(mates)}.")
    _second_best(view, neuron)
    was = int(load(view.run, view.space["index"])["group"][neuron])
    if here.info["fused"] and was >= 0:
        if was != group:
            st.caption(f"The network that was fused has it in group {was}: fuse from here to see what becomes of it.")
        _fused(view, here, neuron, was, wide)


def _second_best(view: SpaceView, neuron: int) -> None:
    """The group that would take the neuron in at the smallest loss; nothing where groups are soft or were edited."""
    best = None if state.get("edits") else existing(second_best, view.run, str(view.space["name"]))
    if best is None or (group := int(best.group[neuron])) < 0:
        return
    members = np.flatnonzero(view.arrays["group"] == group)
    named = view.label(int(members[np.argmax(view.arrays["importance"][members])]))
    margin = float(best.margin[neuron])
    kind = "A better" if margin < 0 else "Second-best"
    st.markdown(
        f"{kind} group: **{group}**, with {plain(named)}. There the space would lose "
        f"**{percent(abs(margin), 2)} {'less' if margin < 0 else 'more'}** of its variance."
    )


def _mate(view: SpaceView, here: Found, neuron: int, mate: int, choose: Choose | None) -> None:
    """A member of the group with its own top inputs."""
    head, button = st.columns([5, 2], vertical_alignment="center")
    said = "this neuron"
    if mate != neuron:
        values = here.arrays["values/parents"][[neuron, mate]]
        said = f"correlation {np.corrcoef(values)[0, 1]:.2f}" if (values.std(1) > 0).all() else "no correlation"
        if choose is not None:
            button.button("Open", key=f"mate-{mate}", on_click=choose, args=(mate,), type="tertiary")
    name = f"<b>{escaped(view.label(mate))}</b>, {said}"
    head.html(f'<p class="passport-label">{name}</p>')
    st.html(strip(here, mate, "top"))


def _fused(view: SpaceView, here: Found, neuron: int, group: int, wide: bool) -> None:
    arrays = here.arrays
    st.markdown(
        f"The fused neuron on the same inputs: correlation **{float(arrays['fused_correlation'][neuron]):.2f}**"
    )
    chart = charts.beside_fused(
        arrays["values/parents"][neuron], arrays["values/fused"][group], arrays["labels"], view.label(neuron)
    )
    left, right = st.columns(2, gap="large") if wide else (st.container(), st.container())
    with left:
        show(chart, "The neuron's and the fused neuron's answer to every sample", f"fused-{here.run}-{neuron}")
    with right:
        table(
            {"Sample": arrays["top"][neuron], "Class": arrays["labels"][arrays["top"][neuron]],
             "This neuron": arrays["top_value"][neuron], "Fused neuron": arrays["fused_top"][neuron]},
            alt="The samples that excite the neuron most, and what the fused neuron answers to them",
        )


def _reads(view: SpaceView, here: Found, neuron: int) -> None:
    arrays, info = here.arrays, here.info
    if info["no_weights"]:
        st.caption(plain(info["no_weights"][:1].upper() + info["no_weights"][1:] + "."))
        return
    if "weights" in arrays:
        values = arrays["weights"][neuron]
        alt = f"Weights of the neuron in {info['layer']}, from {values.min():.3g} to {values.max():.3g}"
        st.html(f'<img class="kernel" src="{pictures.png(pictures.weights(values))}" alt="{escaped(alt)}">')
        how = "colours by channel, grey is 0" if len(values) == 3 else "orange above 0, blue below, white is 0"
        st.caption(plain(f"{alt}: {how}."))
        if values[0].size <= 1024:
            with st.expander("As a table"):
                table(
                    {str(c): values.sum(0)[:, c].round(4) for c in range(values.shape[2])},
                    alt="The weights, row by row, summed over channels",
                )
        return
    parent = int(view.arrays["parent"][neuron])
    source, index, weight = info["incoming_from"], arrays["incoming"][neuron], arrays["incoming_weight"][neuron]
    named = [f"{source}/{view.names[parent]}:{i}" if source else f"input value {i}" for i in index.tolist()]
    table(
        {"Listens to": named, "Weight": weight.round(4)},
        alt="The neurons with the largest weights into this one",
        column_config={"Weight": st.column_config.NumberColumn(
            help="The norm of all weights between the two, with the sign of their sum", format="%.3g"
        )},
    )
    st.caption(plain(f"The largest weights of {info['layer']}."))


def _scores(view: SpaceView, neuron: int) -> None:
    given = found.arguments(view)
    wanted = {key: given[key] for key in ("parents", "data", "seed")}
    run = found.finished("scores", wanted, "Scoring all neurons by every method")
    if run is None:
        return
    mine = view.arrays["parent"] == view.arrays["parent"][neuron]
    rows = []
    for method, values in scores_of(run, str(view.space["name"]), tuple(view.sizes)).items():
        rank = int((values[mine] > values[neuron]).sum()) + 1
        rows.append({"Method": method, "Score": float(values[neuron]), "Rank": rank, "Of": int(mine.sum())})
    table(
        rows, alt="This neuron's score and rank in its parent, by method",
        column_config={"Score": st.column_config.NumberColumn(format="%.3g")},
    )
    for method, reason in store.read_result(run)["skipped"].items():
        st.caption(plain(f"{method}: {reason}"))


def _without(view: SpaceView, here: Found, neuron: int, wide: bool) -> None:
    if not here.info["labelled"]:
        st.caption("What is lost without it is measured on labelled samples; these have no labels.")
        return
    to = st.segmented_control(
        "Set its pre-activation to", ["mean", "zero"], default="mean", required=True, key="silence-to",
        format_func={"mean": "its mean", "zero": "zero"}.get,
        help="Its mean takes away what the neuron tells apart and leaves the next layer the average input it knows; "
        "zero can be far from any value it ever has.",
    )
    given = {**found.arguments(view), "neurons": str(view.neuron_of(neuron)), "silence": to}
    if test := state.get("test"):
        given["test"] = test
    asked = st.session_state.setdefault("silenced", set())
    key = str(sorted(given.items()))
    if progress.pressed("Silence it", key="silence", icon=":material/volume_off:"):
        asked.add(key)
    if key not in asked:
        st.caption("Measures accuracy and loss without it, in its parent and, after a fusion, in the fused network.")
        return
    run = found.finished("passport", given, "Measuring without the neuron")
    if run is not None:
        _lost(store.read_result(run), view.label(neuron), here.run, wide)


def _lost(result: Mapping[str, Any], name: str, key: str, wide: bool) -> None:
    cases = [(f"Without {name}, its parent", result["parent"])]
    if result["fused"]:
        cases.append((f"Without group {result['group']}, the fused network", result["fused"]))
    places = st.columns(2, gap="large") if wide else [st.container()]
    for number, (title, case) in enumerate(cases):
        with places[number % len(places)]:
            _change(title, case["before"], case["after"], key)
    limit = ", the most that are used" if result["samples"] >= 1990 else ""
    filled = "its mean over the samples that were explored" if result["to"] == "mean" else "zero"
    st.caption(plain(f"On {count(result['samples'], 'sample')} of {result['on']}{limit}. Pre-activation: {filled}."))


def _change(title: str, before: Mapping[str, Any], after: Mapping[str, Any], key: str) -> None:
    st.markdown(
        f"{plain(title)}: accuracy {percent(before['accuracy'])} → **{percent(after['accuracy'])}**, "
        f"loss {before['loss']:.3f} → **{after['loss']:.3f}**"
    )
    chart = charts.without(before["accuracy_by_class"], after["accuracy_by_class"], title)
    show(chart, f"{title}: change of accuracy by class", f"without-{key}-{title}")
    with st.expander("As a table"):
        table(
            {"Class": list(range(len(before["accuracy_by_class"]))),
             "Accuracy": before["accuracy_by_class"], "Accuracy without": after["accuracy_by_class"],
             "Loss": before["loss_by_class"], "Loss without": after["loss_by_class"]},
            alt=f"{title}: accuracy and loss by class",
        )
