"""What trainers keep beside the weights is read as inert stand-ins; what would run is refused, in one line."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import os
import pathlib
import re
import subprocess
import types
import typing
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parent_files import Caller
from torch import nn

from fusion_engine.core.errors import ParentError, UnsafeFileError
from fusion_engine.parents import load_parent
from tests.parents.checkpoints import DEEP, SHAPE, deep_state, mlp_state, same, saved


class AttributeDict(dict):
    """As Lightning's hyper-parameters."""


class Words(list):
    pass


class Phase(enum.Enum):
    TRAIN = "train"
    TEST = 2


class Bits(enum.IntFlag):
    ONE = 1


class Score(typing.NamedTuple):
    name: str
    value: float


class Share(float):
    pass


@dataclass
class Settings:
    """As omegaconf's nodes: content, parent, types."""

    content: dict
    kind: Any = typing.Any
    parent: Any = None


class Holder:
    def step(self) -> None:
        pass


def looped() -> Settings:
    node = Settings({})
    node.content["self"] = Settings({"lr": 0.1}, dict, node)
    return node


HARMLESS = {
    "Namespace": lambda: argparse.Namespace(lr=0.1, out=pathlib.Path("/x")),
    "SimpleNamespace": lambda: types.SimpleNamespace(a=1),
    "dict subclass": lambda: AttributeDict(a=1, b=AttributeDict(c=[1])),
    "list subclass": lambda: Words("ab"),
    "Counter": lambda: collections.Counter("aab"),
    "OrderedDict": lambda: collections.OrderedDict(a=1),
    "defaultdict": lambda: collections.defaultdict(list, {"loss": [1.0]}),
    "defaultdict of a class": lambda: collections.defaultdict(collections.OrderedDict, a=1),
    "deque": lambda: collections.deque([1, 2], 5),
    "ChainMap": lambda: collections.ChainMap({"a": 1}),
    "UserDict": lambda: collections.UserDict(a=1),
    "named tuple": lambda: Score("acc", 0.5),
    "number of an own class": lambda: Share(0.5),
    "path": lambda: pathlib.Path("/x"),
    "foreign path": lambda: pathlib.PureWindowsPath("C:/x"),
    "datetime": lambda: datetime.datetime.now(datetime.UTC),
    "date and time": lambda: (datetime.date(2020, 1, 1), datetime.time(1), datetime.timedelta(1)),
    "enum": lambda: [Phase.TRAIN, Phase.TEST, Bits.ONE],
    "exception": lambda: ValueError("diverged"),
    "Decimal and Fraction": lambda: (decimal.Decimal("0.1"), fractions.Fraction(1, 3)),
    "uuid": lambda: uuid.uuid4(),
    "pattern": lambda: re.compile("a+"),
    "types": lambda: [int, str, list, type(None), Holder, np.float32, nn.Linear, torch.optim.SGD],
    "plain values": lambda: (slice(1, 2), range(3), complex(1, 2), b"ab", bytearray(b"ab"), frozenset("a"), {1}, ...),
    "dataclass that holds itself": looped,
    "partial": lambda: functools.partial(nn.LayerNorm, eps=1e-6),
    "bound method": lambda: Holder().step,
    "numpy scalars": lambda: {"acc": np.float64(0.5), "best": np.int64(3), "ok": np.bool_(True)},
    "numpy arrays": lambda: [np.arange(5), np.array(["a"]), np.zeros((2, 2), np.float16), np.dtype("f4")],
    "numpy generators": lambda: (np.random.default_rng(0), np.random.RandomState(0), np.random.get_state()),
    "torch values": lambda: (torch.Size([2]), torch.device("cuda:0"), torch.bfloat16, torch.__version__),
    "torch generator": lambda: (torch.Generator(), torch.get_rng_state()),
    "torch functions": lambda: [torch.relu, torch.nn.functional.gelu, torch.tanh],
    "uint16": lambda: torch.zeros(2, dtype=torch.uint16),
    "odd tensors": lambda: [
        torch.eye(2).to_sparse(), torch.empty(2, device="meta"), torch.zeros(2).to(torch.float8_e5m2),
        torch.zeros(2, dtype=torch.complex64), torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8),
    ],
    "tensor subclass": lambda: nn.Parameter(torch.zeros(2)).as_subclass(torch.Tensor),
    "storage": lambda: torch.zeros(2).untyped_storage(),
    "MultiStepLR": lambda: {"milestones": collections.Counter([3, 3]), "gamma": 0.1, "base_lrs": [0.1]},
    "optimiser": lambda: {"state": {0: {"step": torch.ones(()), "exp_avg": torch.zeros(2)}}, "param_groups": []},
    "loss": lambda: nn.CrossEntropyLoss(),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_objects_beside_the_weights(tmp_path: Path, name: str) -> None:
    state = mlp_state()
    for protocol in (2, 4):
        value = {"kept": HARMLESS[name](), "state_dict": state}
        parent = load_parent(saved(tmp_path / "a.pt", value, pickle_protocol=protocol))
        assert same(dict(parent.state), state)
        assert all("not read: 'kept" in note for note in parent.metadata.reading)


def test_weights_inside_of_such_objects_are_found(tmp_path: Path) -> None:
    state = mlp_state()
    ordered, counted = collections.OrderedDict(state), collections.defaultdict(list, state)
    for value in (AttributeDict(state_dict=ordered), argparse.Namespace(model=state), AttributeDict(state), counted):
        assert same(dict(load_parent(saved(tmp_path / "a.pt", value)).state), state)


HOSTILE = {
    "system": lambda: Caller(os.system, "touch marker"),
    "Popen": lambda: Caller(subprocess.Popen, ["touch", "marker"]),
    "eval": lambda: Caller(eval, "1"),
    "import": lambda: Caller(__import__, "antigravity"),
    "partial of system": lambda: functools.partial(os.system, "touch marker"),
    "default of system": lambda: Caller(collections.defaultdict, os.system),
    "attribute of a module": lambda: Caller(getattr, Caller(__import__, "os"), "system"),
    "attribute of data": lambda: Caller(getattr, "a", "upper"),
    "a user's function": lambda: Caller(mlp_state, 3),
    "a user's class with keywords hidden": lambda: Caller(Holder),
    "Namespace called": lambda: Caller(argparse.Namespace),
    "torch.load": lambda: Caller(torch.load, "a.pt"),
    "torch.hub": lambda: Caller(torch.hub.load, "a", "b"),
    "numpy.load": lambda: Caller(np.load, "a.npy"),
    "open": lambda: Caller(open, "marker", "w"),
    "Counter of a system call": lambda: Caller(collections.Counter, Caller(os.system, "touch marker")),
    "item of a call": lambda: Caller(map, os.system, ["touch marker"]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_run_is_refused_wherever_it_is(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 4):
        path = saved(tmp_path / "a.pt", {"state_dict": mlp_state(), "kept": HOSTILE[name]()}, pickle_protocol=protocol)
        with pytest.raises(UnsafeFileError, match=r"^a\.pt: wants to run code \(.*\); nothing was run") as caught:
            load_parent(path)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "marker").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.to_sparse(), "tensor 'fc1.weight' is sparse"),
        (lambda t: t.to_sparse_csr(), "tensor 'fc1.weight' is sparse"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "tensor 'fc1.weight' is quantised"),
        (lambda t: torch.empty_like(t, device="meta"), "without numbers"),
        (lambda t: t.to(torch.complex64), "complex"),
        (lambda t: t.to(torch.int8), "holds int8 numbers"),
        (lambda t: t.to(torch.uint16), "holds uint16 numbers"),
    ],
)
def test_weights_that_are_no_plain_numbers_are_named(tmp_path: Path, change, words: str) -> None:
    state = mlp_state()
    state["fc1.weight"] = change(state["fc1.weight"])
    with pytest.raises(ParentError, match=words) as caught:
        load_parent(saved(tmp_path / "a.pt", state))
    assert str(caught.value).startswith("a.pt: ")
    assert "\n" not in str(caught.value)


def test_float8_is_read_with_a_note_unless_it_has_scales(tmp_path: Path) -> None:
    state = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in mlp_state().items()}
    parent = load_parent(saved(tmp_path / "a.pt", state))
    assert torch.equal(parent.state["fc1.weight"], state["fc1.weight"].float())
    assert parent.metadata.reading == ("converted from float8_e4m3fn to float32",)
    for scale in ("fc1.weight_scale", "fc1.weight_scale_inv", "fc1.scale"):
        with pytest.raises(ParentError, match=f"8-bit numbers to be scaled.*{scale}"):
            load_parent(saved(tmp_path / "a.pt", {**state, scale: torch.ones(())}))
    scaled = {name: tensor.to(torch.float8_e5m2) for name, tensor in deep_state(0, "net.").items() if tensor.ndim}
    path = saved(tmp_path / "b.pt", {**scaled, "kept.first.weight_scale": torch.ones(())})
    with pytest.raises(ParentError, match=r"8-bit numbers to be scaled.*kept\.first\.weight_scale"):
        load_parent(path, DEEP, input_shape=SHAPE)
