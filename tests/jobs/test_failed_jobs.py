"""Bad input reaches the page as one line, the same that the command line prints; nothing half-done is kept."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from fusion_engine import store
from fusion_engine.core.seeds import torch_generator
from fusion_engine.data import Dataset, load_data
from fusion_engine.demo import demo_files, load_demo
from fusion_engine.jobs.kinds.import_data import keep_data
from fusion_engine.jobs.kinds.import_parents import keep_parents
from fusion_engine.parents import Metadata, Parent, make_parent
from tests.cli.bad_data import BAD_DATA
from tests.jobs.job_runs import ended


def failure(home: Path, kind: str, **arguments: Any) -> str:
    """The line a job failed with."""
    run, status = ended(kind, **arguments)
    line = str(status["error"])
    assert status["state"] == "failed"
    assert line
    assert "\n" not in line
    assert "internal error" not in line
    assert str(home) not in line
    left = {path.name for path in store.run_folder(run).iterdir()}
    assert left <= {"job.json", "end-0.json", "events.jsonl", "result.json"}
    return line


def upload(**files: bytes) -> str:
    return store.save_upload([(name.replace("_", "."), content) for name, content in files.items()])


# ---- parents


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def test_a_hostile_parent(home: Path, tmp_path: Path) -> None:
    marker, buffer = tmp_path / "marker", io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"fc1.weight": Hostile(marker)}, 2))
    good = demo_files()[0].read_bytes()
    line = failure(home, "import_parents", upload=upload(good_safetensors=good, evil_pt=buffer.getvalue()))
    assert line.startswith("evil.pt: wants to run code (")
    assert not marker.exists()
    assert store.list_parents() == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[: len(raw) // 2], "bad.safetensors: not a safetensors file"),
        (lambda raw: b"", "bad.safetensors: the file is empty"),
        (lambda raw: poisoned(raw), "bad.safetensors: tensor 'fc1.weight' holds NaN"),
    ],
    ids=["truncated", "empty", "NaN"],
)
def test_a_damaged_parent(home: Path, damage: Callable[[bytes], bytes], words: str) -> None:
    good = demo_files()[0].read_bytes()
    assert failure(
        home, "import_parents", upload=upload(good_safetensors=good, bad_safetensors=damage(good))
    ).startswith(words)


def poisoned(raw: bytes) -> bytes:
    tensors = load(raw)
    tensors["fc1.weight"][0, 0] = float("nan")
    return save(tensors)


@pytest.mark.parametrize("number", [1, 9])
def test_the_number_of_parents(home: Path, number: int) -> None:
    files = {f"p{i}_safetensors": demo_files()[0].read_bytes() for i in range(number)}
    line = failure(home, "import_parents", upload=upload(**files))
    assert line == f"fusing takes 2 to 8 parents, not {number}"


# ---- data


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    data = load_data("digits").subset(list(range(200)))
    assert data.y is not None
    return {"x": data.x.numpy(), "y": data.y.numpy()}


@pytest.mark.parametrize(
    "case", ["object array", "negative label", "label above the classes", "fewer labels than samples", "NaN samples"]
)
def test_bad_data_is_not_imported(home: Path, arrays: dict[str, np.ndarray], case: str) -> None:
    change, words = BAD_DATA[case]
    buffer = io.BytesIO()
    np.savez(buffer, **change(arrays))
    line = failure(home, "import_data", upload=upload(bad_npz=buffer.getvalue()))
    assert line.startswith("bad.npz: ")
    assert words in line
    assert store.list_data() == []


# ---- fusing


@pytest.fixture
def demo(home: Path) -> str:
    return str(keep_parents(load_demo(), "demo")["id"])


def kept(data: Dataset) -> str:
    return str(keep_data(data, "mine")["id"])


def without_counts(parent: Parent, number: int) -> Parent:
    """The parent's architecture with other weights, and without class counts."""
    generator = torch_generator(number, "parents")
    state = {name: torch.randn(t.shape, generator=generator) for name, t in parent.state.items()}
    return make_parent(f"p{number}", parent.architecture, state, Metadata())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"recipe": "kf_liner"}, "did you mean 'kf_linear'"),
        ({"recipe": {"grouping": "kmeans", "solvr": "average"}}, "did you mean 'solver'"),
        ({"recipe": {"grouping": {"method": "kmeans", "tries": "many"}}}, "'many' is not of type int"),
        ({"recipe": "hf_linear"}, "at most 2 parents"),
        ({"recipe": "average", "samples": -1}, "samples must be a whole number"),
        ({"recipe": "average", "seed": "x"}, "seed must be a whole number"),
    ],
)
def test_bad_recipes(home: Path, demo: str, arguments: dict[str, Any], words: str) -> None:
    assert words in failure(home, "fuse", parents=demo, data="digits:train", **arguments)


def test_class_share_needs_class_counts(home: Path) -> None:
    parents = keep_parents([without_counts(load_demo()[0], n) for n in range(2)], "plain")["id"]
    recipe = {"grouping": "kmeans", "solver": {"method": "least_squares", "head_weights": "class_share"}}
    assert "class counts" in failure(home, "fuse", parents=parents, data="digits:train", recipe=recipe)


def test_parents_that_do_not_belong_together(home: Path) -> None:
    mixed = keep_parents([load_demo("mlp")[0], load_demo("vgg")[0]], "mixed")["id"]
    for kind, more in (("fuse", {"recipe": "average"}), ("explore", {})):
        assert "different architectures" in failure(home, kind, parents=mixed, data="digits:train", **more)


def test_one_parent_is_refused(home: Path) -> None:
    single = keep_parents(load_demo()[:1], "single")["id"]
    line = failure(home, "fuse", parents=single, data="digits:train", recipe="average")
    assert line == "2 parents or more are needed, and there is one"


def test_samples_of_another_shape(home: Path, demo: str) -> None:
    other = kept(Dataset(torch.zeros(20, 3, 9, 9), torch.arange(20) % 10, classes=10))
    good = {"parents": demo, "recipe": "average"}
    for kind, arguments in (
        ("fuse", {**good, "data": other}),
        ("fuse", {**good, "data": "digits:train", "samples": 100, "test": other}),
        ("explore", {"parents": demo, "data": other}),
        ("evaluate", {"parents": demo, "data": other}),
    ):
        assert "the parents take samples of shape" in failure(home, kind, **arguments)


def test_a_class_without_samples(home: Path, demo: str) -> None:
    digits = load_data("digits:train")
    assert digits.y is not None
    lacking = kept(digits.subset((digits.y != 3).nonzero().flatten()))
    assert "training needs every class" in failure(home, "train", arch="mlp", data=lacking, parents=2, regime="full")
