"""Reading .pt files: state dicts, checkpoints, whole modules; nothing in them is ever run."""

from __future__ import annotations

import copyreg
import functools
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from parent_files import Caller, Net, pickled, tensor_pickle, write_archive
from torch import nn

from fusion_engine.core.errors import ParentError, UnsafeFileError, UnsupportedModelError
from fusion_engine.parents import load_parent, load_parents
from fusion_engine.parents.files import read_content

LIMIT = 2**20


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name


def read(path: Path) -> dict[str, torch.Tensor]:
    content = read_content(path, LIMIT)
    (found,) = content.sets
    return content.read(found.records)


# ---- what is read


def test_published_whole_modules_equal_their_safetensors(shared_data: Path) -> None:
    """Saved on cuda:0 from classes that are not installed here."""
    folder = shared_data / "mnist-mlp-noniid2"
    modules = load_parents([folder / "parent_0.pt", folder / "parent_1.pt"])
    for parent, number in zip(modules, (0, 1), strict=True):
        plain = load_parent(folder / f"parent_{number}.safetensors")
        assert_same(dict(parent.state), dict(plain.state))
        assert parent.metadata.class_counts == plain.metadata.class_counts is not None
        assert parent.key_map["fc1.weight"] == "level1.1.weight"
    assert "models" not in sys.modules


@pytest.mark.parametrize("wrap", [
    lambda net: net,
    lambda net: net.state_dict(),
    lambda net: {"epoch": 3, "state_dict": net.state_dict(), "optimizer": {"lr": 0.1}},
    lambda net: {"model": net, "seed": 0},
    lambda net: {"model": {"model_state_dict": dict(net.state_dict())}},
], ids=["module", "state dict", "checkpoint", "wrapped module", "twice wrapped"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_every_way_of_saving(tmp_path: Path, wrap, protocol: int) -> None:
    torch.manual_seed(0)
    net = Net()
    torch.save(wrap(net), tmp_path / "a.pt", pickle_protocol=protocol)
    assert_same(read(tmp_path / "a.pt"), net.state_dict())


def test_views_dtypes_and_shared_storages(tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "t": base.reshape(4, 6).t(), "part": base[3:9], "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3),
        "half": torch.randn(3).half(), "brain": torch.randn(3).bfloat16(), "double": torch.randn(3).double(),
        "count": torch.tensor(7), "bytes": torch.arange(3, dtype=torch.uint8), "flags": torch.tensor([True, False]),
        "parameter": nn.Parameter(torch.randn(2)),
    }
    torch.save(state, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert_same(found, {name: t.detach() for name, t in state.items()})
    assert all(t.is_contiguous() for t in found.values())


def test_batch_norm_modules_and_arrays_beside_the_weights(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    net.seen = np.arange(5)
    torch.save(net, tmp_path / "a.pt")
    assert_same(read(tmp_path / "a.pt"), net.state_dict())


def test_reading_modules_does_not_import_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere_net.py").write_text("import torch.nn as nn\nclass Net(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import elsewhere_net

    net = elsewhere_net.Net(6, 3)
    torch.save(net, tmp_path / "a.pt")
    del sys.modules["elsewhere_net"]
    assert_same(read(tmp_path / "a.pt"), net.state_dict())
    assert "elsewhere_net" not in sys.modules


# ---- what is refused


def hostile(marker: Path) -> dict[str, bytes]:
    touch = f"touch {marker}"
    state_setter = b"\x80\x02cmodels\nNet\n)\x81}X\x0b\x00\x00\x00_parameters"
    return {
        "os.system": pickled(Caller(os.system, touch)),
        "os.system, protocol 0": pickled(Caller(os.system, touch), 0),
        "os.system, protocol 4": pickled(Caller(os.system, touch), 4),
        "eval": pickled(Caller(eval, f"open({str(marker)!r}, 'w')")),
        "exec inside a state dict": pickled({"a": [Caller(exec, f"open({str(marker)!r}, 'w')")]}),
        "partial": pickled(functools.partial(os.system, touch)),
        "getattr": pickled(Caller(getattr, "a", "upper")),
        "INST": f"(S'{touch}'\nios\nsystem\n.".encode(),
        "OBJ": f"(cos\nsystem\nS'{touch}'\no.".encode(),
        "NEWOBJ with arguments": b"\x80\x02cmodels\nNet\n(X\x01\x00\x00\x00at\x81.",
        "NEWOBJ of subprocess.Popen": b"\x80\x02csubprocess\nPopen\n)\x81.",
        "call of an unknown class": b"\x80\x02cmodels\nNet\n)R.",
        "torch.hub": b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00a\x85R.",
        "torch.load": b"\x80\x02ctorch.serialization\nload\nX\x01\x00\x00\x00a\x85R.",
        "reconstructor of a function": pickled(Caller(copyreg._reconstructor, int, object, None)),
        "change of a builder": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x01\x00\x00\x00aK\x01sb.",
        "change of a class": b"\x80\x02cmodels\nNet\nN}X\x08\x00\x00\x00__call__K\x01s\x86b.",
        "extension registry": b"\x80\x02\x82\x01.",
        "a name that is never used": b"\x80\x02}X\x01\x00\x00\x00acevil.module\nrun\ns.",
        "dotted name": b"\x80\x04\x8c\x05torch\x8c\x0cnn.os.system\x93\x8c\x01a\x85R.",
        "unfinished": state_setter,
    }


@pytest.mark.parametrize("case", hostile(Path("marker")))
def test_hostile_pickles_are_refused_and_run_nothing(tmp_path: Path, case: str) -> None:
    marker = tmp_path / "marker"
    path = write_archive(tmp_path / "a.pt", hostile(marker)[case])
    with pytest.raises(ParentError) as caught:
        read(path)
    if case not in ("unfinished", "change of a class"):
        assert isinstance(caught.value, UnsafeFileError)
        assert "wants to run code" in str(caught.value)
    assert str(caught.value).startswith("a.pt: ")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert not marker.exists()


def test_the_hostile_pickles_would_have_worked(tmp_path: Path) -> None:
    """The marker is a real test: plain unpickling makes it."""
    marker = tmp_path / "marker"
    pickle.loads(hostile(marker)["os.system"])
    assert marker.exists()


@pytest.mark.parametrize("raw", [b"\x80\x02]r\xff\xff\xff\x7f.", b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x00.",
                                 b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x00."])
def test_pickles_that_reserve_memory_are_refused(tmp_path: Path, raw: bytes) -> None:
    with pytest.raises(ParentError):
        read(write_archive(tmp_path / "a.pt", raw))


def doubled(times: int) -> bytes:
    """A pickle's tuple that holds one tuple twice, which holds one tuple twice, and so on."""
    return b")q\x00" + b"0h\x00h\x00\x86q\x00" * times


NESTED = {
    "key": b"}" + doubled(60) + b"K\x01s.",
    "one of several keys": b"}(K\x01K\x01" + doubled(60) + b"K\x01u.",
    "dictionary from a mark": b"(" + doubled(60) + b"K\x01d.",
    "key of an OrderedDict": b"ccollections\nOrderedDict\n)R" + doubled(60) + b"K\x01s.",
    "OrderedDict from a list": b"ccollections\nOrderedDict\n]" + doubled(60) + b"K\x01\x86a\x85R.",
    "member of a set": b"\x8f(" + doubled(60) + b"\x90.",
    "frozen set": b"(" + doubled(60) + b"\x91.",
    "through torch.Size": b"}" + b"ctorch\nSize\n" + doubled(60) + b"\x85RK\x01s.",
    "after an empty BUILD": b"}" + doubled(60) + b"NbK\x01s.",
    "after empty SETITEMS": b"}" + doubled(60) + b"(uK\x01s.",
    "deep, not wide": b"})" + b"\x85" * 200_000 + b"K\x01s.",
}


@pytest.mark.parametrize("case", NESTED)
def test_tuples_that_take_forever_to_hash_are_refused(tmp_path: Path, case: str) -> None:
    with pytest.raises(ParentError) as caught:
        read(write_archive(tmp_path / "a.pt", b"\x80\x04" + NESTED[case]))
    assert "\n" not in str(caught.value)


def test_tuples_as_keys_are_no_offence(tmp_path: Path) -> None:
    state = {"weight": torch.ones(2), ("a", (1, 2)): torch.zeros(1)}
    torch.save(state, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt")["weight"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"size": (2, 4), "stride": (4, 1)}, "outside its storage"),
        ({"size": (6,), "stride": (1,), "offset": 1}, "outside its storage"),
        ({"size": (10**6,), "stride": (0,)}, "more memory|outside its storage"),
        ({"size": (10**9, 10**9), "stride": (0, 0)}, "more memory"),
        ({"size": (-1,), "stride": (1,)}, "damaged"),
        ({"size": (2,), "stride": (-1,), "offset": 3}, "damaged"),
        ({"size": (6,), "stride": (1,), "length": 7}, "cut short"),
        ({"size": (2**40,), "stride": (1,), "length": 2**40}, "more memory"),
    ],
)
def test_lying_tensors(tmp_path: Path, layout: dict, message: str) -> None:
    path = write_archive(tmp_path / "a.pt", tensor_pickle(**layout), {"0": struct.pack("6f", *range(6))})
    with pytest.raises(ParentError, match=message):
        read(path)


def test_a_tensor_that_is_changed_after_its_layout_was_checked(tmp_path: Path) -> None:
    honest = tensor_pickle((2, 3), (3, 1))
    at = honest.rindex(b"R") + 1  # after the call that makes the tensor
    state = pickle.dumps((None, -5, (2,), (1,)), 2)[2:-1]
    changed = honest[:at] + state + b"b" + honest[at:]
    path = write_archive(tmp_path / "a.pt", changed, {"0": struct.pack("6f", *range(6))})
    with pytest.raises(UnsafeFileError, match="change a tensor"):
        read(path)


def test_honest_tensor_in_the_same_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.pt", tensor_pickle((2, 3), (3, 1)), {"0": struct.pack("6f", *range(6))})
    assert read(path)["a.weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ParentError, match="missing"):
        read(write_archive(tmp_path / "b.pt", tensor_pickle((2, 3), (3, 1))))


def test_archives_that_are_bombs_or_escape(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", pickled({}))
        archive.writestr("m/data/0", bytes(2 * LIMIT))
    assert path.stat().st_size < LIMIT / 100
    with pytest.raises(UnsafeFileError, match="unpacks to"):
        read(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", pickled({}))
        archive.writestr("../../m/data/0", b"")
    with pytest.raises(UnsafeFileError, match="leaves its folder"):
        read(path)


def test_modules_nested_without_end(tmp_path: Path) -> None:
    # A module whose _modules holds itself.
    raw = (
        b"\x80\x02cmodels\nNet\n)\x81q\x00}(X\x0b\x00\x00\x00_parameters}X\x08\x00\x00\x00_buffers}"
        b"X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x00sub."
    )
    with pytest.raises(UnsafeFileError, match="without end"):
        read(write_archive(tmp_path / "a.pt", raw))


def test_other_kinds_of_files(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("weights, honestly")
    (tmp_path / "none.pt").write_bytes(b"")
    write_archive(tmp_path / "script.pt", pickled({}), **{"constants.pkl": b""})
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a.txt", "a")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in [
        ("text.pt", "not a file of torch.save"), ("none.pt", "empty"),
        ("script.pt", "TorchScript"), ("zip.pt", "not a file of torch.save"), ("list.pt", "no weights"),
        ("gone.pt", "no such file"),
    ]:
        with pytest.raises(ParentError, match=message) as caught:
            load_parent(tmp_path / name)
        assert str(caught.value).startswith(f"{name}: ")
        assert "\n" not in str(caught.value)


def test_truncation_anywhere_gives_one_line(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    for cut in range(1, len(whole), 97):
        (tmp_path / "b.pt").write_bytes(whole[:cut])
        with pytest.raises(ParentError) as caught:
            load_parent(tmp_path / "b.pt")
        assert "\n" not in str(caught.value)


def test_flipped_bytes_never_escape_the_error_tree(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for position in generator.integers(0, len(whole), 3):
            damaged[position] = generator.integers(0, 256)
        (tmp_path / "b.pt").write_bytes(damaged)
        try:
            load_parent(tmp_path / "b.pt")
        except (ParentError, UnsupportedModelError) as problem:
            assert "\n" not in str(problem)  # noqa: PT017
