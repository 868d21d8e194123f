"""Uploads of every usual kind: any ending, shards with their index, zips of folders, averaged weights by choice."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
import torch
from torch import Tensor

from fusion_engine import store
from fusion_engine.core.errors import FusionError
from tests.jobs.job_runs import done, ended
from tests.parents.checkpoints import mlp_state, same

Files = list[tuple[str, bytes]]


def raw(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def shards(state: dict[str, Tensor], stem: str) -> Files:
    names = list(state)
    files, placed = [], {}
    for number, part in enumerate((names[:2], names[2:]), 1):
        file = f"{stem}-{number:05}-of-00002.bin"
        files.append((file, raw({name: state[name] for name in part})))
        placed |= dict.fromkeys(part, file)
    return [*files, (f"{stem}.bin.index.json", json.dumps({"weight_map": placed}).encode())]


def zipped(files: Files, folder: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in [*files, ("config.json", b"{}"), ("tokenizer.json", b"{}")]:
            archive.writestr(f"{folder}/{name}", content)
    return buffer.getvalue()


def imported(files: Files, **arguments: Any) -> Any:
    found = store.read_result(done("import_parents", upload=store.save_upload(files), **arguments))
    return store.read_parents_summary(found["parents"])


def failed(files: Files, **arguments: Any) -> str:
    """The lines of an import that fails."""
    run, status = ended("import_parents", upload=store.save_upload(files), **arguments)
    try:
        return " ".join(f"{entry['file']}: {entry['error']}" for entry in store.read_result(run)["errors"])
    except FusionError:  # refused before any file was read
        return str(status["error"])


def weights(summary: Any) -> list[dict[str, Tensor]]:
    from fusion_engine.parents import load_parents

    return [dict(parent.state) for parent in load_parents(store.parent_paths(summary["id"]))]


STATES = [mlp_state(0), mlp_state(1)]


@pytest.mark.parametrize("files", [
    [("best.pth.tar", raw(STATES[0])), ("last.ckpt", raw({"state_dict": STATES[1]}))],
    [("A.PTH", raw(STATES[0], _use_new_zipfile_serialization=False)), ("pytorch_model.bin", raw(STATES[1]))],
    [*shards(STATES[0], "a"), *shards(STATES[1], "b"), ("config.json", b"{}"), ("tokenizer_config.json", b"{}")],
    [*shards(STATES[0], "a")[:2], *shards(STATES[1], "b")[:2]],
    [("a.zip", zipped(shards(STATES[0], "model"), "a")), ("b.zip", zipped([("m.bin", raw(STATES[1]))], "deep/b"))],
], ids=["endings", "old and upper case", "shards", "shards without index", "zips"])  # fmt: skip
def test_uploads_of_every_kind(files: Files) -> None:
    summary = imported(files)
    assert all(same(found, state) for found, state in zip(weights(summary), STATES, strict=True))


def test_class_counts_of_shards_and_of_files_with_two_endings() -> None:
    entries = [{"file": "a.bin.index.json", "class_counts": [1, 2, 3, 4, 5]},
               {"file": "b.pth.tar", "class_counts": [5, 4, 3, 2, 1]}]
    files = [*shards(STATES[0], "a"), ("b.pth.tar", raw(STATES[1]))]
    files.append(("parents.json", json.dumps({"parents": entries}).encode()))
    assert [p["class_counts"] for p in imported(files)["parents"]] == [e["class_counts"] for e in entries]


def test_the_same_weights_in_files_of_another_form_are_another_set() -> None:
    states = [{n: t.half().float() for n, t in s.items()} for s in STATES]
    in_half = [{n: t.half() for n, t in s.items()} for s in states]
    forms = [states, in_half, [s | {"loss.w": torch.ones(2)} for s in states]]
    sets = [imported([(f"{i}.pt", raw(s)) for i, s in enumerate(form)])["id"] for form in forms]
    assert len(set(sets)) == 3


def test_names_are_shown_without_endings() -> None:
    files = [("best.pth.tar", raw(STATES[0])), *shards(STATES[1], "net")]
    assert {p["name"] for p in imported(files)["parents"]} == {"best", "net"}


def test_shards_that_cannot_be_told_apart() -> None:
    twice = [*shards(STATES[0], "model")[:2], *shards(STATES[1], "model")[:2]]
    assert "put the files of each parent into a zip archive" in failed(twice)
    lost = shards(STATES[0], "model")[1:]
    line = failed([*lost, ("b.pt", raw(STATES[1]))])
    assert "model.bin.index.json: the index names model-00001-of-00002.bin, which is not beside it" in line


def test_averaged_weights_are_said_and_chosen() -> None:
    files = [(f"{i}.pt", raw({"state_dict": mlp_state(i), "state_dict_ema": mlp_state(i + 2)})) for i in (0, 1)]
    plain = imported(files)
    assert same(weights(plain)[0], mlp_state(0))
    assert any("averaged weights (state_dict_ema)" in line for line in plain["warnings"])
    chosen = imported(files, weights="ema")
    assert same(weights(chosen)[1], mlp_state(3))
    assert any("read the weights under 'state_dict_ema'" in line for line in chosen["warnings"])
    assert "called 'teacher'" in failed(files, weights="teacher")
