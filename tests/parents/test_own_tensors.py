"""Which tensors of a file are the network's: prefixes, wrappers, averaged copies, losses and metrics beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from fusion_engine.core.errors import ParentError, UnsupportedModelError
from fusion_engine.parents import load_parent
from tests.parents.checkpoints import DEEP, SHAPE, Deep, deep_state, mlp_state, prefixes, same, saved


def deep(path: Path, **options):
    return load_parent(path, DEEP, input_shape=SHAPE, **options)


def renamed(state: dict[str, Tensor], **parts: str) -> dict[str, Tensor]:
    """first='module.first' and the like: the part of a name before the first dot in another spelling."""
    return {parts.get(n.partition(".")[0], n.partition(".")[0]) + n[n.index(".") :]: t for n, t in state.items()}


# ---- prefixes


@pytest.mark.parametrize("prefix", prefixes())
def test_any_prefix_with_and_without_an_architecture(tmp_path: Path, prefix: str) -> None:
    state = deep_state(0, prefix)
    parent = deep(saved(tmp_path / "a.pt", {"state_dict": state}))
    assert same({parent.key_map[name]: tensor for name, tensor in parent.state.items()}, state)
    assert parent.metadata.reading == ()
    plain = mlp_state(0, prefix)
    parent = load_parent(saved(tmp_path / "b.pt", plain))
    assert same({parent.key_map[name]: tensor for name, tensor in parent.state.items()}, plain)


@pytest.mark.parametrize(
    "parts",
    [
        {"body": "body._orig_mod"},
        {"first": "module.first", "body": "module.body"},
        {"first": "_orig_mod.first", "body": "_orig_mod.body._checkpoint_wrapped_module", "norm": "_orig_mod.norm",
         "head": "_orig_mod.head"},
        {"first": "encoder.first", "norm": "encoder.norm", "body": "encoder.body"},
    ],
    ids=["one compiled", "one parallel", "checkpointed inside of compiled", "backbone and head apart"],
)
def test_wrappers_of_parts(tmp_path: Path, parts: dict[str, str]) -> None:
    state = renamed(deep_state(), **parts)
    parent = deep(saved(tmp_path / "a.pt", state))
    assert same({parent.key_map[name]: tensor for name, tensor in parent.state.items()}, state)


def test_a_module_that_is_wrapped_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.parents.checkpoints.Wrapped", lambda: nn.ModuleDict({"m": Deep()}), raising=False)
    monkeypatch.setattr(nn.ModuleDict, "forward", lambda self, x: self["m"](x), raising=False)
    path = saved(tmp_path / "a.pt", deep_state())
    parent = load_parent(path, "tests.parents.checkpoints:Wrapped", input_shape=SHAPE)
    assert parent.key_map["m.first.weight"] == "first.weight"


def test_what_is_missing_or_of_another_shape_is_named_as_in_the_file(tmp_path: Path) -> None:
    state = deep_state(0, "model.")
    short = {name: tensor for name, tensor in state.items() if name != "model.body.0.bias"}
    with pytest.raises(UnsupportedModelError, match=r"no tensor 'body.0.bias', which the module needs"):
        deep(saved(tmp_path / "a.pt", short))
    with pytest.raises(UnsupportedModelError, match=r"'model.head.bias' is \(6,\) in the file and \(5,\)"):
        deep(saved(tmp_path / "a.pt", state | {"model.head.bias": torch.zeros(6)}))


def test_a_tensor_that_might_be_the_networks_is_never_dropped(tmp_path: Path) -> None:
    for extra in ("shortcut.weight", "model.extra.weight", "model.body.0.scale"):
        state = deep_state(0, "model.") | {extra: torch.ones(16, 16)}
        if extra.startswith("model."):
            with pytest.raises(UnsupportedModelError, match=f"has a tensor '{extra}' that the module lacks"):
                deep(saved(tmp_path / "a.pt", state))
        else:
            assert extra in " ".join(deep(saved(tmp_path / "a.pt", state)).metadata.reading)
        path = saved(tmp_path / "b.pt", mlp_state(0, "model.") | {extra: torch.ones(16, 16)})
        if extra.startswith("model."):
            with pytest.raises(UnsupportedModelError, match="not recognised"):
                load_parent(path)
        else:
            with pytest.raises(UnsupportedModelError, match=rf"network's own: '{extra}'; --weights model leaves"):
                load_parent(path)
            assert same(dict(load_parent(path, weights="model").state), mlp_state())


# ---- tensors of losses, metrics, counters


BESIDE = {
    "criterion.pos_weight": torch.ones(5), "loss_fn.weight": torch.ones(5), "class_weights": torch.ones(5),
    "acc.tp": torch.zeros(5), "val_auroc.confmat": torch.zeros(5, 5), "train_metrics.total": torch.tensor(3),
    "n_averaged": torch.tensor(3), "global_step": torch.tensor(3), "model.total_ops": torch.zeros(1),
    "center_loss.centers": torch.randn(5, 16), "metric.value": torch.tensor(float("nan")),
    "valAccuracy.correct": torch.tensor(7.0), "perceptual_loss.net.0.weight": torch.randn(4, 3, 3, 3),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_tensors_that_are_not_the_networks(tmp_path: Path, name: str, prefix: str) -> None:
    beside = {name: BESIDE[name]}
    for state, read in ((mlp_state(0, prefix), load_parent), (deep_state(0, prefix), deep)):
        parent = read(saved(tmp_path / "a.pt", {"state_dict": {**state, **beside}}))
        assert same({parent.key_map[key]: tensor for key, tensor in parent.state.items()}, state)
        (note,) = parent.metadata.reading or ("",)
        assert name in note or (name == "model.total_ops" and read is deep)
        assert torch.equal(parent.beside[name].nan_to_num(), BESIDE[name].nan_to_num())


# ---- averaged weights


def averaged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


EMA = {
    "timm": lambda s: {"state_dict": s, "state_dict_ema": averaged(s)},
    "key ema": lambda s: {"model": s, "ema": averaged(s)},
    "key model_ema": lambda s: {"model": s, "model_ema": {"module": averaged(s)}},
    "ema_state_dict": lambda s: {"model_state_dict": s, "ema_state_dict": averaged(s)},
    "emaModel": lambda s: {"net": s, "emaModel": averaged(s)},
    "swa": lambda s: {"model": s, "swa_state": averaged(s)},
    "names without dots": lambda s: {
        "state_dict": {f"net.{n}": t for n, t in s.items()} | {"net_ema.num_updates": torch.tensor(9)}
        | {f"net_ema.{n.replace('.', '')}": t for n, t in averaged(s).items()}
    },
    "inside the state dict": lambda s: {
        "state_dict": {f"model.{n}": t for n, t in s.items()}
        | {f"ema_model.module.{n}": t for n, t in averaged(s).items()}
    },
}


@pytest.mark.parametrize("name", EMA)
def test_averaged_weights_are_found_offered_and_read(tmp_path: Path, name: str) -> None:
    for state, read in ((mlp_state(), load_parent), (deep_state(), deep)):
        path = saved(tmp_path / "a.pt", EMA[name](state))
        plain, copy = read(path), read(path, weights="ema")
        assert same(dict(plain.state), state)
        assert same(dict(copy.state), averaged(state))
        assert [note for note in plain.metadata.reading if "(--weights ema)" in note]
        assert [note for note in copy.metadata.reading if "read the weights under" in note]


def test_only_averaged_weights_are_read_and_said(tmp_path: Path) -> None:
    parent = load_parent(saved(tmp_path / "a.pt", {"ema": mlp_state(), "epoch": 3}))
    assert parent.metadata.reading == ("read the weights under 'ema', the only ones in the file",)
    path = saved(tmp_path / "b.pt", AveragedModel(Deep()).state_dict())
    assert deep(path).key_map["first.weight"] == "module.first.weight"
    for weights in (None, "ema"):
        assert any("n_averaged" in note for note in deep(path, weights=weights).metadata.reading)
    save_file(mlp_state(0, "model.") | mlp_state(1, "ema."), tmp_path / "c.safetensors")
    assert same(dict(load_parent(tmp_path / "c.safetensors").state), mlp_state(0))
    assert same(dict(load_parent(tmp_path / "c.safetensors", weights="ema").state), mlp_state(1))


def test_layers_of_one_width_are_not_taken_for_one_deeper_network(tmp_path: Path) -> None:
    square = {f"{p}{i}.weight": torch.randn(10, 10) for p in ("model.", "ema.") for i in (0, 2)}
    parent = load_parent(saved(tmp_path / "a.pt", square))
    assert str(parent.architecture).startswith("mlp 10-10-10")
    assert len(parent.state) == 2


# ---- wrappers of any name, and several that fit


@pytest.mark.parametrize("path", [["generator"], ["net"], ["ckpt", "weights_of_it"], ["a", "b", "state_dict"]])
def test_one_set_under_any_name(tmp_path: Path, path: list[str]) -> None:
    value = {"epoch": 3, **mlp_state()}
    value = mlp_state()
    for key in reversed(path):
        value = {key: value, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(5, 5)}}}}
    parent = load_parent(saved(tmp_path / "a.pt", value))
    assert same(dict(parent.state), mlp_state())
    said = path != ["net"]
    assert bool(parent.metadata.reading) == said
    assert all(".".join(path) in note for note in parent.metadata.reading)


def test_several_sets_are_chosen_by_the_user(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"student": mlp_state(0), "teacher": mlp_state(1), "epoch": 3})
    with pytest.raises(ParentError, match=r"several sets of weights \(student, teacher\).*--weights teacher"):
        load_parent(path)
    assert same(dict(load_parent(path, weights="teacher").state), mlp_state(1))
    with pytest.raises(ParentError, match=r"no weights in the file are called 'ema'; there are 'student', 'teacher'"):
        load_parent(path, weights="ema")
    both = saved(tmp_path / "b.pt", {"state_dict": deep_state(0, "student.") | deep_state(1, "teacher.")})
    with pytest.raises(UnsupportedModelError, match=r"several such networks \(student, teacher\).*--weights teacher"):
        deep(both)
    assert same(dict(deep(both, weights="teacher").state), deep_state(1))


def test_the_one_set_that_fits_the_architecture(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"generator": mlp_state(), "discriminator": deep_state()})
    assert same(dict(deep(path).state), deep_state())
    with pytest.raises(ParentError, match="several sets"):
        load_parent(path)


def test_modules_among_the_settings_are_not_the_trained_ones(tmp_path: Path) -> None:
    value = {"state_dict": mlp_state(0, "model."), "hyper_parameters": {"model": nn.Linear(20, 5), "lr": 0.1}}
    assert len(load_parent(saved(tmp_path / "a.ckpt", value)).state) == 4


def test_other_tensors_in_a_checkpoint_are_said(tmp_path: Path) -> None:
    value = {"state_dict": mlp_state(), "prototypes": torch.ones(5, 16), "ema": {"shadow_params": [torch.ones(2)]},
             "rng_state": torch.get_rng_state(), "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}}}
    assert load_parent(saved(tmp_path / "a.pt", value)).metadata.reading == (
        "the file also holds averaged weights (ema.shadow_params) without names, which cannot be read",
        "beside the weights, and not read: 'prototypes'",
    )


def test_a_module_beside_its_state_dict_is_one_network(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 5))
    parent = load_parent(saved(tmp_path / "a.pt", {"net": net, "state_dict": net.state_dict()}))
    assert parent.architecture.activation == "tanh"


def test_dictionaries_of_dictionaries(tmp_path: Path) -> None:
    nested: dict[str, dict[str, Tensor]] = {}
    for name, tensor in mlp_state().items():
        nested.setdefault(name.split(".")[0], {})[name.split(".")[1]] = tensor
    assert same(dict(load_parent(saved(tmp_path / "a.pt", {"model": nested})).state), mlp_state())
    parts = {"trunk": {}, "head": {}}
    for name, tensor in deep_state().items():
        parts["head" if name.startswith("head.") else "trunk"][name.removeprefix("head.")] = tensor
    assert same(dict(deep(saved(tmp_path / "b.pt", parts)).state), deep_state())
