"""Parents: loading, metadata, checks, saving."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fusion_engine.architectures import MLPConfig, VGGConfig, build
from fusion_engine.core.errors import FusionError, ParentError, StoreError, UnsafeFileError, UnsupportedModelError
from fusion_engine.parents import (
    Metadata,
    Parent,
    check_parents,
    load_parent,
    load_parents,
    make_parent,
    read_safetensors,
    save_parent,
    write_state,
)

MLP = MLPConfig((6, 5, 3))


def parent(name: str = "a", config=MLP, seed: int = 0, **metadata) -> Parent:
    torch.manual_seed(seed)
    return make_parent(name, config, build(config).state_dict(), Metadata(**metadata))


def write_mlp(path: Path, dtype: torch.dtype = torch.float32, prefix: str = "fc", seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"1.weight": (5, 6), "1.bias": (5,), "2.weight": (3, 5), "2.bias": (3,)}
    save_file({prefix + k: torch.randn(s, generator=generator).to(dtype) for k, s in shapes.items()}, path)
    return path


# ---- loading


def test_loading_gives_model_and_state_that_agree(tmp_path: Path) -> None:
    loaded = load_parent(write_mlp(tmp_path / "net.safetensors", prefix="level"))
    assert loaded.name == "net"
    assert loaded.architecture == MLP
    assert (loaded.classes, loaded.input_shape) == (3, (6,))
    assert loaded.key_map == {f"fc{i}.{part}": f"level{i}.{part}" for i in (1, 2) for part in ("weight", "bias")}
    assert not loaded.model.training
    assert not any(p.requires_grad for p in loaded.model.parameters())
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, loaded.state[name])
    x = loaded.example_input(4)
    s = loaded.state
    expected = torch.relu(x @ s["fc1.weight"].T + s["fc1.bias"]) @ s["fc2.weight"].T + s["fc2.bias"]
    torch.testing.assert_close(loaded.model(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_say_so(tmp_path: Path, dtype: torch.dtype) -> None:
    loaded = load_parent(write_mlp(tmp_path / "net.safetensors", dtype))
    assert all(t.dtype == torch.float32 for t in loaded.state.values())
    assert loaded.metadata.reading == (f"converted from {str(dtype).removeprefix('torch.')} to float32",)
    exact, _ = read_safetensors(tmp_path / "net.safetensors")
    assert torch.equal(loaded.state["fc1.weight"], exact["fc1.weight"].float())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_named(tmp_path: Path, value: float) -> None:
    broken = dict(parent().state)
    broken["fc2.bias"] = torch.tensor([0.0, value, 0.0])
    write_state(tmp_path / "net.safetensors", broken)
    with pytest.raises(ParentError, match=r"^net\.safetensors: tensor 'fc2.bias' holds NaN"):
        load_parent(tmp_path / "net.safetensors")


def test_class_counts_from_the_file_beside(tmp_path: Path) -> None:
    paths = [write_mlp(tmp_path / f"p{i}.safetensors", seed=i) for i in range(2)]
    entries = [{"file": "p0.safetensors", "class_counts": [1, 2, 3]}, {"file": "p1.pt", "class_counts": [4, 5, 6]}]
    (tmp_path / "parents.json").write_text(json.dumps({"parents": entries}))
    assert [p.metadata.class_counts for p in load_parents(paths)] == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"parents": 3}', '{"parents": [{}]}', "[" * 100_000,
     '{"parents": [{"file": "p.safetensors", "class_counts": [1, 2]}]}',
     '{"parents": [{"file": "p.safetensors", "class_counts": [1, 2, -3]}]}'],
)
def test_wrong_file_beside(tmp_path: Path, text: str) -> None:
    path = write_mlp(tmp_path / "p.safetensors")
    (tmp_path / "parents.json").write_text(text)
    with pytest.raises(ParentError) as caught:
        load_parent(path)
    assert "\n" not in str(caught.value)


def test_names_are_made_unique(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / str(i)).mkdir()
        write_mlp(tmp_path / str(i) / "net.safetensors", seed=i)
    loaded = load_parents(sorted(tmp_path.glob("*/net.safetensors")))
    assert [p.name for p in loaded] == ["net", "net (2)", "net (3)"]


def test_custom_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "user_nets.py").write_text(
        "from torch import nn\ndef make():\n"
        "    return nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import user_nets

    for i in range(2):
        write_state(tmp_path / f"p{i}.safetensors", user_nets.make().state_dict())
    paths = [tmp_path / f"p{i}.safetensors" for i in range(2)]
    with pytest.raises(UnsupportedModelError, match=r"^p0\.safetensors: .*--arch"):
        load_parents(paths)
    loaded = load_parents(paths, "user_nets:make", input_shape=(6,))
    assert loaded[0].classes == 3
    save_parent(tmp_path / "again.safetensors", loaded[0])
    assert load_parent(tmp_path / "again.safetensors", "user_nets:make", input_shape=(6,)).digest == loaded[0].digest


# ---- damaged and hostile safetensors


def header(values: dict, data: bytes = b"") -> bytes:
    text = json.dumps(values).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "raw",
    [
        b"x", b"12345678", struct.pack("<Q", 2**63), struct.pack("<Q", 2**40) + b"{}", struct.pack("<Q", 2) + b"{",
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}),
        header({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, bytes(8)),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)),
        header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}, bytes(8)),
        header({"a": {"dtype": "NO", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        header({"a": 3}),
        header({"__metadata__": {"neuron_fusion_lab": 3}}),
    ],
)
def test_damaged_safetensors(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "p.safetensors").write_bytes(raw)
    with pytest.raises(FusionError, match=r"^p\.safetensors: ") as caught:
        load_parent(tmp_path / "p.safetensors")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_truncated_safetensors(tmp_path: Path) -> None:
    whole = write_mlp(tmp_path / "p.safetensors").read_bytes()
    for cut in range(1, len(whole), 23):
        (tmp_path / "q.safetensors").write_bytes(whole[:cut])
        with pytest.raises(ParentError, match=r"^q\.safetensors: "):
            load_parent(tmp_path / "q.safetensors")


@pytest.mark.parametrize(
    "values",
    [
        {"architecture": {"name": "mlp", "widths": [6, 50, 3], "activation": "relu", "bias": True}},
        {"architecture": {"name": "os:system"}},
        {"architecture": {"name": "mlp", "widths": [10**9, 10**9, 10**9], "activation": "relu", "bias": True}},
        {"architecture": {"name": "mlp", "widths": [10**19, 3], "activation": "relu", "bias": True}},
        {"architecture": {"name": "mlp", "widths": [3] * 50_000, "activation": "relu", "bias": True}},
        {"class_counts": "many"},
        {"training": []},
        {"architecture": 3},
    ],
)
def test_lying_metadata(tmp_path: Path, values: dict) -> None:
    write_state(tmp_path / "p.safetensors", parent().state, {"neuron_fusion_lab": json.dumps(values)})
    with pytest.raises(FusionError, match=r"p.*: ") as caught:
        load_parent(tmp_path / "p.safetensors")
    assert "\n" not in str(caught.value)


def test_the_size_limit(tmp_path: Path) -> None:
    path = write_mlp(tmp_path / "p.safetensors")
    with pytest.raises(UnsafeFileError, match="more than the limit"):
        load_parent(path, limit=100)


# ---- belonging together


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda a: parent("b", MLPConfig((7, 5, 3))), r"layer 'fc1.weight' is \(5, 6\) in a and \(5, 7\) in b"),
        (lambda a: parent("b", MLPConfig((6, 5, 5, 3))), "b has a layer 'fc3.weight' and a has not"),
        (lambda a: parent("b", MLPConfig((6, 5, 4))), "different numbers of classes: 3 and 4"),
        (lambda a: parent("b", MLPConfig((6, 5, 3), activation="tanh")), "differ in what their layers do"),
        (lambda a: parent("b", VGGConfig((1, 4, 4), (2, "M"), (3,))), "different architectures"),
    ],
)
def test_parents_that_do_not_belong_together(other: Callable[[Parent], Parent], message: str) -> None:
    first = parent()
    with pytest.raises(ParentError, match=message) as caught:
        check_parents([first, other(first)])
    assert "\n" not in str(caught.value)


def test_number_of_parents() -> None:
    assert check_parents([parent()], minimum=1) == []
    for count, message in [(0, "there are none"), (1, "there is one"), (9, "at most 8.*there are 9")]:
        with pytest.raises(ParentError, match=message):
            check_parents([parent(f"p{i}", seed=i) for i in range(count)])


def test_notes() -> None:
    a, b, c = parent("a", seed=1), parent("b", seed=1), parent("c", seed=2, class_counts=[1, 1, 1])
    assert check_parents([a, b]) == ["a and b are identical"]
    wider = parent("w", MLPConfig((6, 7, 3)), seed=3)
    assert check_parents([a, wider]) == ["the parents have different widths: the fused network gets the first one's"]
    assert check_parents([a, c]) == ["class counts are not known for a, so they are not used"]


# ---- saving


@pytest.mark.parametrize(
    "config",
    [MLP, MLPConfig((6, 5, 3), activation="gelu"), VGGConfig((1, 8, 8), (2, "M", 3), (4, 3), batch_norm=True)],
    ids=str,
)
def test_round_trip_is_bit_exact(tmp_path: Path, config) -> None:
    original = parent("net", config, class_counts=[3, 2, 1], data_digest="abc", training={"epochs": 3})
    save_parent(tmp_path / "net.safetensors", original)
    again = load_parent(tmp_path / "net.safetensors")
    assert again.digest == original.digest
    assert again.architecture == original.architecture
    assert again.metadata == original.metadata
    assert list(tmp_path.iterdir()) == [tmp_path / "net.safetensors"]


def test_saving_keeps_the_files_own_names(tmp_path: Path) -> None:
    loaded = load_parent(write_mlp(tmp_path / "in.safetensors", prefix="level1.", seed=3))
    save_parent(tmp_path / "out.safetensors", loaded)
    before, _ = read_safetensors(tmp_path / "in.safetensors")
    after, _ = read_safetensors(tmp_path / "out.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert load_parent(tmp_path / "out.safetensors").key_map == loaded.key_map


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(tmp_path / "net.safetensors", parent(seed=1).state)
    before = (tmp_path / "net.safetensors").read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusion_engine.parents.files.safetensorsfile.save_file", full)
    with pytest.raises(StoreError, match="No space left"):
        write_state(tmp_path / "net.safetensors", parent(seed=2).state)
    assert (tmp_path / "net.safetensors").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_tied_and_strided_tensors_can_be_written(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    write_state(tmp_path / "t.safetensors", {"a": base, "b": base, "t": base.t()})
    found, _ = read_safetensors(tmp_path / "t.safetensors")
    assert torch.equal(found["t"], base.t())
    assert torch.equal(found["a"], found["b"])


def test_digest_depends_on_names_shapes_and_values() -> None:
    assert parent("a", seed=1).digest == parent("b", seed=1).digest != parent("a", seed=2).digest


def test_making_a_parent_copies_and_checks() -> None:
    state = build(MLP).state_dict()
    made = make_parent("a", MLP, state)
    state["fc1.bias"] += 1
    assert not torch.equal(made.state["fc1.bias"], state["fc1.bias"])
    with pytest.raises(ParentError, match="do not fit"):
        make_parent("a", MLPConfig((6, 4, 3)), state)
    del state["fc1.bias"]
    with pytest.raises(ParentError, match="do not fit"):
        make_parent("a", MLP, state)
