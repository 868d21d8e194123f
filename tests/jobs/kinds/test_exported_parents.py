"""Exported programs through the store: uploaded, kept with their program, examined."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from fusion_engine import store
from tests.exported.exported_files import SmallCNN, export, trained
from tests.jobs.job_runs import done


def imported(paths: list[Path]) -> str:
    upload = store.save_upload([(path.name, path.read_bytes()) for path in paths])
    return str(store.read_result(done("import_parents", upload=upload))["parents"])


def test_uploaded_programs_are_kept_and_examined(tmp_path: Path) -> None:
    parents = imported([export(tmp_path / f"net{seed}.pt2", trained(seed)) for seed in range(2)])
    summary = store.read_parents_summary(parents)
    assert [p["name"] for p in summary["parents"]] == ["net0", "net1"]
    assert (summary["classes"], summary["input_shape"]) == (10, [1, 8, 8])
    assert summary["architecture"].startswith("exported program ")
    found = store.read_result(done("preflight", parents=parents))
    assert found["ok"], found["error"]
    assert [layer["name"] for layer in found["layers"]] == ["stem", "body.0", "head"]


class Steeper(SmallCNN):
    def __init__(self) -> None:
        super().__init__()
        self.body[1] = nn.LeakyReLU(0.3)


def test_the_same_weights_in_another_program_are_another_set(tmp_path: Path) -> None:
    first = [export(tmp_path / f"net{seed}.pt2", trained(seed)) for seed in range(2)]
    steeper = []
    for seed in range(2):
        model = Steeper().eval()
        model.load_state_dict(trained(seed).state_dict())
        (tmp_path / "steeper").mkdir(exist_ok=True)
        steeper.append(export(tmp_path / "steeper" / f"net{seed}.pt2", model))
    assert imported(first) != imported(steeper)
    assert imported(first) == imported(first)
