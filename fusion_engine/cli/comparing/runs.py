"""runs: list, name, tag and annotate the fusions that the app has made, and compare them."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_engine import store
from fusion_engine.core.errors import FusionError, StoreError
from fusion_engine.store.shapes import DescribedRun

from ..output import check_writable, table, write_report

_RUN = "a run's id, the end of one (4 characters or more), or its name"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=summary)

    listing = action("list", "list runs, newest first; only those that every given condition holds of")
    listing.add_argument(
        "text", nargs="*", help="words in a run's name, note, tags, recipe, id, or in its parents' or data's name"
    )
    listing.add_argument("--tag", action="append", default=[], metavar="TAG", help="has this tag; may be repeated")
    for name, said in (("recipe", "made by the recipe of this name"), ("parents", "of this parent set: id or name"),
                       ("data", "calibrated or tested on this data set: id or name")):
        listing.add_argument(f"--{name}", default="", metavar=name.upper(), help=said)
    listing.add_argument("--state", default="done", help="done (default), failed, cancelled, running, queued, or any")
    listing.add_argument("--json", action="store_true", help="print JSON")
    rename = action("rename", "give a run a name; '' takes it away")
    rename.add_argument("run_named", metavar="RUN", help=_RUN)
    rename.add_argument("name")
    tag = action("tag", "add tags to a run, and take some away")
    tag.add_argument("run_named", metavar="RUN", help=_RUN)
    tag.add_argument("add", nargs="*", metavar="TAG", help="tags to add")
    tag.add_argument("--remove", action="append", default=[], metavar="TAG", help="a tag to take away; may be repeated")
    note = action("note", "give a run a note; '' takes it away, without text it is printed")
    note.add_argument("run_named", metavar="RUN", help=_RUN)
    note.add_argument("text", nargs="?")
    compare = action("compare", "compare runs: accuracies with 95 % intervals, and which differences are noise")
    compare.add_argument("run_named", metavar="RUN", nargs="+", help=_RUN)
    compare.add_argument("--mix", action="store_true", help="compare runs of other parents or test data all the same")
    compare.add_argument("--report", type=Path, metavar="FILE.json", help="where the report goes")


def run(arguments: argparse.Namespace) -> None:
    """Do one of the actions."""
    if arguments.action == "list":
        _list(arguments)
    elif arguments.action == "compare":
        _compare(arguments)
    else:
        _change(arguments)


def _change(arguments: argparse.Namespace) -> None:
    identifier = store.named_run(arguments.run_named)
    if arguments.action == "rename":
        about = store.describe_run(identifier, name=arguments.name)
        print(f"{identifier} is called {about['name']!r}" if about["name"] else f"{identifier} has no name")
    elif arguments.action == "tag":
        if not arguments.add and not arguments.remove:
            raise FusionError("give tags to add, or --remove TAG")
        tags = store.change_tags(identifier, arguments.add, arguments.remove)["tags"]
        print(f"{identifier} has {'tags ' + ', '.join(tags) if tags else 'no tags'}")
    elif arguments.text is None:
        print(store.read_about(identifier)["note"])
    else:
        note = store.describe_run(identifier, note=arguments.text)["note"]
        print(f"{identifier} has {'a note' if note else 'no note'}")


def _list(arguments: argparse.Namespace) -> None:
    found = store.find_runs(
        " ".join(arguments.text), tags=arguments.tag, recipe=arguments.recipe, parents=arguments.parents,
        data=arguments.data, state=None if arguments.state == "any" else arguments.state,
    )
    if arguments.json:
        print(json.dumps([entry(run) for run in found], indent=1))
        return
    header = ("run", "name", "tags", "recipe", "parents", "test data", "accuracy", "made")
    print(table(header, [
        (run["id"], run["about"]["name"] or "-", ", ".join(run["about"]["tags"]) or "-", run["recipe"],
         run["names"]["parents"], run["names"]["test"] or "-", _percent(_accuracy(run)),
         time.strftime("%Y-%m-%d %H:%M", time.localtime(run["created"]))) for run in found
    ]))


def entry(run: DescribedRun) -> dict[str, Any]:
    """A run as `list --json` prints it."""
    arguments = run["arguments"]
    sets = {key: {"id": arguments.get(key), "name": run["names"][key]} for key in ("parents", "data", "test")}
    about = {key: run["about"][key] for key in ("name", "note", "tags")}
    return {
        "run": run["id"], **about, "recipe": run["recipe"], **sets, "seed": arguments.get("seed") or 0,
        "state": run["state"], "created": run["created"], "accuracy": _accuracy(run),
    }  # fmt: skip


def _accuracy(run: DescribedRun) -> float | None:
    try:
        accuracy = store.read_report(run["id"])["fused"]["accuracy"]
    except (StoreError, KeyError, TypeError):
        return None
    return None if accuracy is None else float(accuracy)


def _compare(arguments: argparse.Namespace) -> None:
    from fusion_engine.store.described.beside import beside

    check_writable(arguments.report)
    runs = list(dict.fromkeys(map(store.named_run, arguments.run_named)))
    found = beside(runs, mix=arguments.mix)
    write_report(arguments.report, found)
    print(table(
        ("network", "accuracy", "95 % interval", "samples", "against the first", "p", "said"),
        [(row["network"], _percent(row["accuracy"]), _interval(row["interval"]), row["samples"] or "-",
          "-" if row["difference"] is None else f"{100 * row['difference']:+.2f} points",
          "-" if row["p"] is None else f"{row['p']:.2g}", row["said"] or "-") for row in found["rows"]],
    ))
    for line in found["notes"]:
        print(f"note: {line}")


def _interval(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"{100 * bounds[0]:.2f} to {100 * bounds[1]:.2f}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"
