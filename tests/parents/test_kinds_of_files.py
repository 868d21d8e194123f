"""Files are told by their content, not by their name; shards, folders and archives are one network."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fusion_engine.core.errors import FusionError, ParentError, UnsafeFileError
from fusion_engine.parents import load_parent, load_parents
from fusion_engine.parents.files import read_content
from tests.parents.checkpoints import DEEP, SHAPE, Deep, deep_state, mlp_state, same, saved

STATE = mlp_state()
LEGACY = {"_use_new_zipfile_serialization": False}


def assert_read(path: Path, state: dict[str, Tensor] = STATE) -> None:
    assert same(dict(load_parent(path).state), state)


@pytest.mark.parametrize(
    "name",
    ["checkpoint.pth.tar", "last.ckpt", "pytorch_model.bin", "M.PTH", "weights", "net.v2", "a.npz",
     "model.safetensors.index.json"],
)
def test_endings_tell_nothing(tmp_path: Path, name: str) -> None:
    assert_read(saved(tmp_path / name, STATE))
    assert_read(saved(tmp_path / name, {"epoch": 3, "state_dict": STATE}, **LEGACY))
    save_file(STATE, tmp_path / name)
    assert_read(tmp_path / name)


def test_parents_are_called_without_the_endings(tmp_path: Path) -> None:
    names = ["best.pth.tar", "model.safetensors.index.json", "step.100.ckpt", "M.PTH", "plain"]
    found = [load_parent(saved(tmp_path / name, STATE)).name for name in names]
    assert found == ["best", "model", "step.100", "M", "plain"]


# ---- from before torch 1.6


@pytest.mark.parametrize("wrap", [
    lambda net: net, lambda net: {"model": net.state_dict(), "optimizer": {"t": torch.ones(3)}},
])
def test_old_files(tmp_path: Path, wrap) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    net.half_view = torch.arange(6).double()[1:4]
    content = read_content(saved(tmp_path / "old.pth", wrap(net), **LEGACY), 2**20)
    (found,) = content.sets
    assert same(content.read(found.records), net.state_dict())


def test_old_files_with_views_and_all_types(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "t": base.reshape(4, 6).t(), "part": base[3:9], "half": torch.randn(3).half(), "n": torch.tensor(7),
        "empty": torch.zeros(0, 3), "flags": torch.tensor([True, False]), "u": torch.ones(2, dtype=torch.uint16),
    }
    content = read_content(saved(tmp_path / "old.pth", state, **LEGACY), 2**20)
    assert same(content.read(content.sets[0].records), state)


def test_damaged_old_files_give_one_line(tmp_path: Path) -> None:
    raw = saved(tmp_path / "a.pt", STATE, **LEGACY).read_bytes()
    generator = np.random.default_rng(0)
    for cut in range(1, len(raw), 61):
        (tmp_path / "b.pt").write_bytes(raw[:cut])
        with pytest.raises(FusionError, match=r"^b\.pt: ") as caught:
            load_parent(tmp_path / "b.pt")
        assert "\n" not in str(caught.value)
    for _ in range(100):
        damaged = bytearray(raw)
        for place in generator.integers(0, len(raw), 3):
            damaged[place] = generator.integers(0, 256)
        (tmp_path / "b.pt").write_bytes(damaged)
        try:
            load_parent(tmp_path / "b.pt")
        except FusionError as problem:
            assert "\n" not in str(problem)  # noqa: PT017


def test_old_files_of_big_endian_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.serialization.sys.byteorder", "big")
    path = saved(tmp_path / "a.pt", STATE, **LEGACY)
    monkeypatch.undo()
    with pytest.raises(ParentError, match="big-endian"):
        load_parent(path)


def test_an_old_file_that_would_run_code(tmp_path: Path) -> None:
    class Call:
        def __reduce__(self):
            return print, ("ran",)

    with pytest.raises(UnsafeFileError, match="wants to run code"):
        load_parent(saved(tmp_path / "a.pt", {"state_dict": STATE, "x": Call()}, **LEGACY))


# ---- known and not read


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\x03", "GGUF"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\n<!DOCTYPE html>", "a web page"),
        (b"\x80\x04\x95\x00", "a plain pickle"),
        (bytes(257) + b"ustar\x0000" + bytes(300), "a tar archive"),
        (b'{"epoch": 3}', "no index of weights"),
        (b"weights, honestly", "not a file of torch.save"),
        (b"PK\x03\x04 and no archive", "damaged"),
    ],
)  # fmt: skip
def test_other_files_are_named(tmp_path: Path, raw: bytes, words: str) -> None:
    (tmp_path / "a.bin").write_bytes(raw)
    with pytest.raises(ParentError, match=words) as caught:
        load_parent(tmp_path / "a.bin")
    assert str(caught.value).startswith("a.bin: ")
    assert "\n" not in str(caught.value)


# ---- several files


def sharded(folder: Path, ending: str = "safetensors", state: dict[str, Tensor] = STATE, config: bool = True) -> Path:
    """A Hugging Face folder of two shards and their index; returns the index."""
    folder.mkdir(exist_ok=True)
    stem = {"safetensors": "model", "bin": "pytorch_model"}[ending]
    placed, names = {}, list(state)
    for number, part in enumerate((names[:2], names[2:]), 1):
        file = folder / f"{stem}-{number:05}-of-00002.{ending}"
        tensors = {name: state[name] for name in part}
        save_file(tensors, file) if ending == "safetensors" else torch.save(tensors, file)
        placed |= dict.fromkeys(part, file.name)
    if config:
        (folder / "config.json").write_text(json.dumps({"model_type": "mine", "hidden_size": 16}))
    index = folder / f"{stem}.{ending}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": placed}))
    return index


@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_shards_by_index_folder_and_archive(tmp_path: Path, ending: str) -> None:
    index = sharded(tmp_path / "net", ending)
    (tmp_path / "net" / "training_args.bin").write_bytes(b"\x80\x04not weights")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "net"))
    for path in (index, tmp_path / "net", archive):
        assert_read(path)
        assert read_content(path, 2**20).said["config"] == {"model_type": "mine", "hidden_size": 16}
    assert load_parent(tmp_path / "net").name == "net"
    index.unlink()
    assert_read(tmp_path / "net")


def test_folders_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    saved(tmp_path / "a" / "pytorch_model.bin", STATE)
    assert_read(tmp_path / "a")
    save_file(mlp_state(1), tmp_path / "a" / "model.safetensors")  # which is taken first, as everywhere
    assert_read(tmp_path / "a", mlp_state(1))
    saved(tmp_path / "b", deep_state())
    (tmp_path / "c").mkdir()
    saved(tmp_path / "c" / "last.ckpt", {"state_dict": deep_state(1)})
    parents = load_parents([tmp_path / "b", tmp_path / "c"], DEEP, input_shape=SHAPE)
    assert [parent.name for parent in parents] == ["b", "c"]


def test_folders_that_are_not_one_network(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a.pt", "b.pt"):
        saved(tmp_path / "two" / name, STATE)
    (tmp_path / "lora").mkdir()
    save_file(STATE, tmp_path / "lora" / "adapter_model.safetensors")
    index = sharded(tmp_path / "part")
    (tmp_path / "part" / "model-00002-of-00002.safetensors").unlink()
    for name, words in [
        ("empty", "no weights"), ("two", r"several files of weights \(a.pt, b.pt\)"), ("lora", "adapters"),
        ("part", "model-00002-of-00002.safetensors, which is not beside it"),
    ]:
        with pytest.raises(ParentError, match=rf"^{name}: .*{words}"):
            load_parent(tmp_path / name)
    index.unlink()
    with pytest.raises(ParentError, match="not all of one set"):
        load_parent(tmp_path / "part")


def test_an_index_that_lies(tmp_path: Path) -> None:
    index = sharded(tmp_path / "net")
    honest = json.loads(index.read_text())["weight_map"]
    save_file(STATE, tmp_path / "outside.safetensors")
    for changes, words in [
        ({"fc1.weight": "../outside.safetensors"}, "outside its folder"),
        ({"fc1.weight": str(tmp_path / "outside.safetensors")}, "outside its folder"),
        ({"fc1.weight": "..\\outside.safetensors"}, "outside its folder"),
        ({"more": "model-00001-of-00002.safetensors"}, "a tensor 'more'"),
        ({"fc1.weight": "model-00002-of-00002.safetensors"}, "which the index does not say"),
        ({"fc1.weight": 3}, "no index of weights"),
    ]:
        index.write_text(json.dumps({"weight_map": honest | changes}))
        with pytest.raises(FusionError, match=words) as caught:
            load_parent(index)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_archives_with_bounds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.safetensors", bytes(2**22))
    with pytest.raises(UnsafeFileError, match="unpacks to"):
        load_parent(tmp_path / "bomb.zip", limit=2**20)
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("../model.safetensors", b"")
    with pytest.raises(UnsafeFileError, match="leaves its folder"):
        load_parent(tmp_path / "out.zip")
    (tmp_path / "both").mkdir()
    for number in "01":
        sharded(tmp_path / "both" / number)
    with pytest.raises(ParentError, match="an archive of its own"):
        load_parent(shutil.make_archive(str(tmp_path / "both"), "zip", tmp_path / "both"))
    with pytest.raises(UnsafeFileError, match="larger together"):
        load_parent(sharded(tmp_path / "net"), limit=900)


def test_shards_of_a_module_of_ones_own(tmp_path: Path) -> None:
    state = deep_state(0, "model.")
    parent = load_parent(sharded(tmp_path / "net", "bin", state).parent, DEEP, input_shape=SHAPE)
    Deep().load_state_dict({name.removeprefix("model."): tensor for name, tensor in state.items()}, strict=True)
    assert parent.key_map["first.weight"] == "model.first.weight"
