"""`fuse --edits FILE`: the same weights as edits in the recipe, and one line for files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion_engine.cli.main import main

EDITS = [
    {"edit": "merge", "space": "fc1", "neurons": ["a:0", "1:1"]},
    {"edit": "exclude", "space": "fc1", "neurons": ["0:3-5"]},
]


def run(files: Path, edits: Path | None, out: Path, recipe: str = "kf_linear") -> int:
    parents = [str(files / "a.safetensors"), str(files / "b.safetensors")]
    more = [] if edits is None else ["--edits", str(edits)]
    report = ["--report", str(out.with_suffix(".json"))]
    return main(["fuse", *parents, "--calibration", str(files / "calib.npz"), "--recipe", recipe, *more, "--out",
                 str(out), *report])  # fmt: skip


def test_yaml_json_and_the_recipe_give_the_same_weights(files: Path, tmp_path: Path) -> None:
    as_list, as_mapping, recipe = tmp_path / "edits.yaml", tmp_path / "edits.json", tmp_path / "recipe.yaml"
    as_list.write_text("".join(f"- {json.dumps(edit)}\n" for edit in EDITS))
    as_mapping.write_text(json.dumps({"edits": EDITS}))
    assert run(files, None, tmp_path / "plain.safetensors") == 0
    assert run(files, as_list, tmp_path / "one.safetensors") == 0
    assert run(files, as_mapping, tmp_path / "two.safetensors") == 0
    report = json.loads((tmp_path / "one.json").read_text())
    assert report["recipe"]["edits"][0]["neurons"] == ["0:0", "1:1"]
    assert "edits" not in json.loads((tmp_path / "plain.json").read_text())["recipe"]
    recipe.write_text(json.dumps({**report["recipe"], "edits": EDITS[:1]}))
    rest = tmp_path / "rest.yaml"
    rest.write_text(json.dumps(EDITS[1:]))
    assert run(files, rest, tmp_path / "three.safetensors", str(recipe)) == 0
    one, two, three, plain = (
        (tmp_path / f"{name}.safetensors").read_bytes() for name in ("one", "two", "three", "plain")
    )
    assert weights(one) == weights(two)
    assert weights(one) == weights(three)
    assert weights(one) != weights(plain)


def weights(content: bytes) -> bytes:
    """A safetensors file's data, without its header, which holds the recipe as it was written."""
    return content[8 + int.from_bytes(content[:8], "little") :]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "the file is empty"),
        ("- {edit: move", "edits.yaml is not valid YAML"),
        ("edits: []\nmore: 1", "a file of edits holds a list"),
        ("- {edit: exclude, edit: pin}", "the key 'edit' is given twice"),
        ("- {edit: exclude, space: fc1, neurons: [0]}", "edits.yaml.0: neurons: 0 is not a neuron"),
        ("- {edit: exclude, space: fc1, neurons: [0:99]}", "edits.0: space 'fc1': '0:99': a has neurons 0 to 11"),
        ("- {edit: exclude, space: fc7, neurons: [0:1]}", "there is no space 'fc7'"),
        ("[" * 4000, "edits.yaml"),
        ("- {edit: exclude, space: fc1, neurons: &a [" + "0:1, " * 60_000 + "]}\n- {edit: pin, space: s, neurons: *a}",
         "more than 100,000 neurons"),
        ("a" * (5 * 2**20), "more than the limit of 4.0 MiB"),
    ],
)  # fmt: skip
def test_files_that_are_no_edits_are_refused_in_one_line(
    content: str, line: str, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "edits.yaml"
    path.write_text(content)
    assert run(files, path, tmp_path / "fused.safetensors") == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert line in error
    assert error.count("\n") == 1
    assert "unexpected" not in error
    assert [p.name for p in tmp_path.iterdir()] == ["edits.yaml"]
