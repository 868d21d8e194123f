"""A pickled network says what its tensors do not: its activations, poolings, heads. Elsewhere it is said what was
assumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fusion_engine import store
from fusion_engine.architectures import MLPConfig
from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.core.progress import Progress
from fusion_engine.data import make_dataset
from fusion_engine.jobs.kinds.import_parents import keep_parents
from fusion_engine.jobs.kinds.preflight import inspect
from fusion_engine.parents import load_base, load_parent, load_parents
from fusion_engine.pipeline import fuse

ASSUMED = "activation relu assumed; the file does not say: give --arch mlp:activation=tanh if not"


def saved(folder: Path, model: nn.Module, name: str = "a.pt", whole: bool = True) -> Path:
    torch.save(model.eval() if whole else model.state_dict(), folder / name)
    return folder / name


def perceptron(activation: nn.Module, *end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(20, 16), activation, nn.Dropout(), nn.Linear(16, 8), activation, nn.Linear(8, 5)]
    return nn.Sequential(*layers, *end)


def convolutional(
    activation: nn.Module | None = None, pool: nn.Module | None = None, stride: int = 1, eps: float = 1e-5
) -> nn.Module:
    torch.manual_seed(0)
    activation, pool = activation or nn.ReLU(), pool or nn.MaxPool2d(2, 2)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6, eps), activation, pool,
        nn.Conv2d(6, 8, 3, stride, 1), nn.BatchNorm2d(8, eps), activation, pool,
        nn.Flatten(), nn.Linear(8 * 4, 5),
    )  # fmt: skip


class Functional(nn.Module):
    """Names no activation: it calls one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(20, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(x)))


class Keeping(Functional):
    """Keeps a function as its activation."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.functional.silu


def assert_same_function(path: Path, model: nn.Module, shape: tuple[int, ...] = (20,)) -> None:
    parent = load_parent(path, input_shape=shape)
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(parent.model(x), model.eval()(x), rtol=1e-5, atol=1e-5)


# ---- used


@pytest.mark.parametrize(
    "activation",
    [nn.ReLU(inplace=True), nn.GELU(), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.LeakyReLU(), nn.LeakyReLU(0.2)],
    ids=str,
)
def test_named_activations_are_used(activation: nn.Module, tmp_path: Path) -> None:
    model = perceptron(activation)
    path = saved(tmp_path, model)
    assert_same_function(path, model)
    assert load_parent(path).metadata.assumed == {}


def test_a_kept_function_is_a_name_too(tmp_path: Path) -> None:
    assert load_parent(saved(tmp_path, Keeping())).architecture == MLPConfig((20, 16, 5), "silu")


def test_a_softmax_at_the_end_is_left_out_and_said(tmp_path: Path) -> None:
    parent = load_parent(saved(tmp_path, perceptron(nn.Tanh(), nn.LogSoftmax(dim=1))))
    assert parent.architecture == MLPConfig((20, 16, 8, 5), "tanh")
    assert list(parent.metadata.assumed.values()) == [
        "the log_softmax that the file names is left out: outputs are logits"
    ]


@pytest.mark.parametrize(
    "make",
    [
        convolutional, lambda: convolutional(nn.Tanh()), lambda: convolutional(nn.LeakyReLU()),
        lambda: convolutional(pool=nn.AvgPool2d(2)),
    ],
)  # fmt: skip
def test_convolutional_networks(make, tmp_path: Path) -> None:
    model = make()
    model[1].running_mean.normal_()
    path = saved(tmp_path, model)
    assert_same_function(path, model, (1, 8, 8))
    assert load_parent(path, input_shape=(1, 8, 8)).metadata.assumed == {}


class Encoder(nn.Module):
    """A vision transformer of torch's own layers."""

    def __init__(self, norm_first: bool = True, activation: str = "gelu", heads: int = 8, eps: float = 1e-5) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 4, 4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 5, 16))
        layer = nn.TransformerEncoderLayer(
            16, heads, 24, batch_first=True, norm_first=norm_first, activation=activation, layer_norm_eps=eps
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head(self.encoder(torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position)[:, 0])


def test_the_activation_of_a_transformer(tmp_path: Path) -> None:
    model = Encoder(activation="relu")
    assert_same_function(saved(tmp_path, model), model, (1, 8, 8))


@pytest.mark.parametrize("norm_first", [True, False])
def test_heads_and_order_of_norms_of_a_transformer(norm_first: bool, tmp_path: Path) -> None:
    model = Encoder(norm_first)
    path = saved(tmp_path, model)
    parent = load_parent(path)
    assert (parent.architecture.heads, parent.architecture.norm_first) == (8, norm_first)
    assert parent.metadata.assumed.keys() == {"pool"}, "which is in the code of the module"
    assert_same_function(path, model, (1, 8, 8))


# ---- refused


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: perceptron(nn.Hardswish()), "names the activation|Hardswish"),
        (lambda: perceptron(nn.GELU("tanh")), r"gelu\(approximate=tanh\)"),
        (lambda: perceptron(nn.ELU(0.5)), r"elu\(alpha=0.5\)"),
        (lambda: nn.Sequential(nn.Linear(9, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5)), "and relu"),
        (lambda: nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 8), nn.Linear(8, 5)), "between two layers"),
        (lambda: nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh()), "none at its ends"),
        (lambda: nn.Sequential(nn.AvgPool1d(2), nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 5)), "AvgPool1d"),
        (lambda: convolutional(nn.LeakyReLU(0.2)), r"names leaky_relu\(negative_slope=0.2\)"),
        (lambda: convolutional(pool=nn.AvgPool2d(3, 2, 1)), "AvgPool2d"),
        (lambda: convolutional(pool=nn.MaxPool2d(3, 2, 1)), "MaxPool2d"),
        (lambda: convolutional(stride=2, pool=nn.MaxPool2d(2)), "names (stride 2|padding 1)"),
        (lambda: convolutional(eps=1e-3), "names eps 0.001"),
    ],
)  # fmt: skip
def test_what_the_architecture_has_not_is_refused(model, words: str, tmp_path: Path) -> None:
    path = saved(tmp_path, model())
    with pytest.raises(UnsupportedModelError, match=words) as caught:
        load_parent(path, input_shape=(1, 16, 16) if "stride" in words else None)
    line = str(caught.value)
    assert line.startswith("a.pt: ")
    assert line.endswith("give --arch package.module:callable")
    assert "\n" not in line


def test_a_given_architecture_is_not_contradicted(tmp_path: Path) -> None:
    path = saved(tmp_path, perceptron(nn.Hardswish()))
    assert load_parent(path, "mlp:activation=silu").architecture.activation == "silu"


# ---- assumed, and said


@pytest.mark.parametrize("whole", [True, False])
def test_what_no_file_says_is_assumed_with_a_word(whole: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, Functional(), whole=whole)
    parent = load_parent(path)
    assert parent.architecture == MLPConfig((20, 16, 5))
    assert list(parent.metadata.assumed.values()) == [ASSUMED]
    told = load_parent(path, "mlp:activation=tanh")
    assert told.architecture == MLPConfig((20, 16, 5), "tanh")
    assert told.metadata.assumed == {}


def test_told_beside_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path, Functional(), whole=False)
    entry = {"file": path.name, "architecture": {"activation": "tanh"}}
    (tmp_path / "parents.json").write_text(json.dumps({"parents": [entry]}))
    assert load_parent(path).architecture.activation == "tanh"
    assert load_parent(path).metadata.assumed == {}


def test_assumptions_are_said_once_wherever_parents_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    parents = load_parents([saved(tmp_path, Functional(), f"{j}.pt", whole=False) for j in range(3)])
    data = make_dataset(torch.randn(50, 20).numpy(), None, None, None, 5, "x")
    result = fuse(parents, data, "average")
    assert result.report["warnings"].count(ASSUMED) == 1
    assert inspect(parents, None, 0, Progress())["warnings"].count(ASSUMED) == 1
    summary = keep_parents(parents, "three")
    assert summary["warnings"] == [ASSUMED]
    stored = load_parents(store.parent_paths(summary["id"]))
    assert [p.metadata.assumed for p in stored] == [p.metadata.assumed for p in parents]
    result.save(tmp_path / "run")
    assert list(load_parent(tmp_path / "run" / "fused.safetensors").metadata.assumed.values()) == [ASSUMED]


def test_those_concerned_are_named(tmp_path: Path) -> None:
    mixed = [saved(tmp_path, perceptron(nn.ReLU()), "named.pt"), saved(tmp_path, perceptron(nn.ReLU()), "b.pt", False)]
    parents = load_parents(mixed)
    data = make_dataset(torch.randn(50, 20).numpy(), None, None, None, 5, "x")
    assert f"b: {ASSUMED}" in fuse(parents, data, "average").report["warnings"]


def test_a_base_model_is_taken_to_be_as_the_parents(tmp_path: Path) -> None:
    parents = load_parents([saved(tmp_path, perceptron(nn.Tanh()), f"{j}.pt") for j in range(2)])
    base = load_base(saved(tmp_path, perceptron(nn.Tanh()), "base.pt", whole=False), parents)
    assert base is not None
    assert base.architecture == parents[0].architecture
