"""Fused files load strictly in the code that made the parents: under their names, no more and no fewer, in their types;
with tied names, missing counters, and what lies beside the network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from fusion_engine import store
from fusion_engine.architectures import ResNetConfig, build
from fusion_engine.core.errors import ParentError
from fusion_engine.data import make_dataset
from fusion_engine.jobs.kinds.import_parents import keep_parents
from fusion_engine.parents import Parent, file_tensors, load_parent, load_parents, save_parent, settled, write_state
from fusion_engine.pipeline import FusionResult, fuse
from tests.parents.checkpoints import (
    DEEP,
    NUMBERED,
    SHAPE,
    TIED,
    Deep,
    Numbered,
    Tied,
    deep_state,
    mlp_state,
    same,
    saved,
)
from tests.zoo import ZOO
from tests.zoo import build as build_zoo

RESNET = ResNetConfig.cifar(8, (3, 16, 16), 5)


def is_plain(name: str) -> bool:
    """Whether a zoo model takes one float tensor and gives logits, as --arch needs it."""
    model, inputs = build_zoo(name)
    if len(inputs) != 1 or not inputs[0].is_floating_point():
        return False
    with torch.inference_mode():
        return model(*inputs).ndim == 2


PLAIN = [name for name in ZOO if is_plain(name)]


def fused(parents: list[Parent], recipe: Any = "average") -> FusionResult:
    x = torch.randn(50, *parents[0].input_shape, generator=torch.Generator().manual_seed(0))
    return fuse(parents, make_dataset(x.numpy(), None, None, None, parents[0].classes, "x"), recipe)


# ---- every network of the zoo


def without_counters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if "num_batches" not in name}


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


@pytest.mark.parametrize("name", PLAIN)
def test_strict_loading_over_the_zoo(name: str, tmp_path: Path) -> None:
    """Behind a prefix, in half precision, without counters; then with one name of each tied tensor."""
    model, (x,) = build_zoo(name)
    spec, shape = f"tests.parents.checkpoints:zoo_{name}", tuple(x.shape[1:])
    state = {f"module._orig_mod.{n}": t for n, t in without_counters(half(model.state_dict())).items()}
    parent = load_parent(saved(tmp_path / "a.ckpt", {"state_dict": state}), spec, input_shape=shape)
    written = file_tensors(parent, {n: t * 2 if t.is_floating_point() else t for n, t in parent.state.items()})
    assert same(written, {n: t * 2 if t.is_floating_point() else t for n, t in state.items()})
    assert all(written[own].dtype == tensor.dtype for own, tensor in state.items())
    save_model(model, tmp_path / "tied.safetensors")
    parent = load_parent(tmp_path / "tied.safetensors", spec, input_shape=shape)
    assert same(dict(parent.state), model.state_dict())
    assert file_tensors(parent, parent.state).keys() == load_file(tmp_path / "tied.safetensors").keys()


# ---- counters that the file lacks


def test_files_without_counters_get_none(tmp_path: Path) -> None:
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(without_counters(build(RESNET).state_dict()))
    paths = [saved(tmp_path / f"{i}.pt", {f"module.{n}": t for n, t in s.items()}) for i, s in enumerate(states)]
    result = fused(load_parents(paths, input_shape=RESNET.input_shape))
    assert result.file_state().keys() == torch.load(paths[0], weights_only=True).keys()
    result.save(tmp_path / "run")
    again = load_parent(tmp_path / "run" / "fused.safetensors")
    assert same(dict(again.state), result.state)


def test_counters_of_other_types_stay_what_they_are(tmp_path: Path) -> None:
    state = {n: t.to(torch.int32) if "num_batches" in n else t for n, t in deep_state().items()}
    parent = load_parent(saved(tmp_path / "a.pt", state), DEEP, input_shape=SHAPE)
    assert same(file_tensors(parent, parent.state), state)
    averaged = {n: t.float() + 0.5 if "num_batches" in n else t for n, t in state.items()}  # as averages of buffers are
    parent = load_parent(saved(tmp_path / "b.pt", averaged), DEEP, input_shape=SHAPE)
    assert parent.state["norm.num_batches_tracked"] == 0


# ---- tied names


def test_tied_names_that_are_missing_are_filled_and_said(tmp_path: Path) -> None:
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_model(Tied(), tmp_path / f"{seed}.safetensors")
    stored = load_file(tmp_path / "0.safetensors")
    parents = load_parents([tmp_path / f"{i}.safetensors" for i in (0, 1)], TIED, input_shape=SHAPE)
    assert len({parents[0].state[name].data_ptr() for name in ("a.weight", "b.weight", "c.again.weight")}) == 1
    assert any("is not in the file, and is 'a.weight'" in note for note in parents[0].metadata.reading)
    result = fused(parents)
    assert result.file_state().keys() == stored.keys()
    assert any("is not in the file" in line for line in result.report["warnings"])
    missing, unexpected = Tied().load_state_dict(result.file_state(), strict=False)
    assert not unexpected
    assert set(missing) == {"b.weight", "c.again.weight", "c.again.bias"}  # which the module has under other names
    assert torch.equal(result.model.b.weight, result.state["a.weight"])


@pytest.mark.parametrize("kept", ["a.weight", "b.weight", "c.again.weight"])
def test_whichever_of_the_names_is_kept(tmp_path: Path, kept: str) -> None:
    torch.manual_seed(0)
    whole = Tied().state_dict()
    lost = {"a.weight", "b.weight", "c.again.weight"} - {kept} | {"c.again.bias"}
    state = {f"model.{name}": tensor for name, tensor in whole.items() if name not in lost}
    parent = load_parent(saved(tmp_path / "a.bin", state), TIED, input_shape=SHAPE)
    assert same(dict(parent.state), whole)
    assert file_tensors(parent, parent.state).keys() == state.keys()


def test_tied_names_that_differ_are_refused(tmp_path: Path) -> None:
    state = Tied().state_dict()
    state["b.weight"] = state["b.weight"] + 1
    with pytest.raises(ParentError, match=r"'a.weight' and 'b.weight' are one tensor in the module, and differ"):
        load_parent(saved(tmp_path / "a.pt", state), TIED, input_shape=SHAPE)


# ---- integers


def test_integers_that_are_no_weights_are_fine(tmp_path: Path) -> None:
    state = Numbered().state_dict()
    parent = load_parent(saved(tmp_path / "a.pt", state), NUMBERED, input_shape=SHAPE)
    assert same(dict(parent.state), state)
    del state["order"]
    parent = load_parent(saved(tmp_path / "b.pt", state), NUMBERED, input_shape=SHAPE)
    assert torch.equal(parent.state["order"], Numbered().order)
    assert parent.metadata.reading == ("'order' is not in the file, and is what the module computes",)
    assert "order" not in file_tensors(parent, parent.state)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.bool])
def test_integers_in_the_place_of_weights_are_refused(tmp_path: Path, dtype: torch.dtype) -> None:
    for state, arch in ((mlp_state(0, "net."), "auto"), (deep_state(0, "net."), DEEP)):
        name = next(iter(state))
        changed = {**state, name: (state[name] * 100).to(dtype)}
        for extra in ({}, {f"{name}_scale": torch.ones(1)}, {"net.zero_point": torch.zeros(1)}):
            with pytest.raises(ParentError, match=rf"'{name}' holds {str(dtype)[6:]} numbers where a network has w"):
                load_parent(saved(tmp_path / "a.pt", changed | extra), arch, input_shape=SHAPE)


@pytest.mark.filterwarnings("ignore")
def test_a_quantised_network_is_named(tmp_path: Path) -> None:
    net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 5)))
    with pytest.raises(ParentError, match="quantised"):
        load_parent(saved(tmp_path / "a.pt", net.state_dict()))


# ---- types, and what lies beside


def test_fused_files_are_in_the_parents_types(tmp_path: Path) -> None:
    kinds = {"first.weight": torch.bfloat16, "head.weight": torch.float64}
    for seed in (0, 1):
        state = {n: t.to(kinds.get(n, t.dtype)) for n, t in deep_state(seed).items()}
        saved(tmp_path / f"{seed}.pt", state)
    paths = [tmp_path / f"{i}.pt" for i in (0, 1)]
    result = fused(load_parents(paths, DEEP, input_shape=SHAPE))
    written = result.file_state()
    assert {name: written[name].dtype for name in kinds} == kinds
    assert any("written in bfloat16 and float64, as the parents' are" in line for line in result.report["warnings"])
    result.save(tmp_path / "run")
    assert same(load_file(tmp_path / "run" / "solved.safetensors"), dict(result.state))
    saved(tmp_path / "1.pt", deep_state(1))  # one of them is float32 throughout: nothing is rounded
    result = fused(load_parents(paths, DEEP, input_shape=SHAPE))
    assert {t.dtype for t in result.file_state().values() if t.is_floating_point()} == {torch.float32, torch.float64}


def test_numbers_too_large_for_half_precision_stay_float32(tmp_path: Path) -> None:
    parent = load_parent(saved(tmp_path / "a.pt", half(deep_state())), DEEP, input_shape=SHAPE)
    large = {**parent.state, "head.bias": torch.full((5,), 1e6)}
    written = file_tensors(parent, large)
    assert written["head.bias"].dtype == torch.float32
    assert written["head.weight"].dtype == torch.float16


def test_a_lightning_module_takes_the_fused_file(tmp_path: Path) -> None:
    class Trainer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = Deep()
            self.criterion = nn.CrossEntropyLoss(weight=torch.ones(5))
            self.register_buffer("steps_done", torch.tensor(4))

    for seed in (0, 1):
        torch.manual_seed(seed)
        saved(tmp_path / f"{seed}.ckpt", {"state_dict": Trainer().half().state_dict()})
    result = fused(load_parents([tmp_path / "0.ckpt", tmp_path / "1.ckpt"], DEEP, input_shape=SHAPE))
    result.save(tmp_path / "run")
    trainer = Trainer().half()
    trainer.load_state_dict(load_file(tmp_path / "run" / "fused.safetensors"), strict=True)
    again = load_parent(tmp_path / "run" / "fused.safetensors", DEEP, input_shape=SHAPE)
    assert torch.equal(again.state["head.weight"], trainer.model.head.weight.float())
    assert any("'criterion.weight'" in line and "'steps_done'" in line for line in result.report["warnings"])


@pytest.mark.parametrize("dots", [True, False])
def test_averaged_copies_inside_become_copies_of_the_fused_weights(tmp_path: Path, dots: bool) -> None:
    for arch, make in (("auto", mlp_state), (DEEP, deep_state)):
        states = []
        for seed in (0, 1):
            plain, counted = half(make(seed, "net.")), {"net_ema.num_updates": torch.tensor(9)}
            copy = {n if dots else n.replace(".", ""): t for n, t in make(seed + 2).items() if t.is_floating_point()}
            states.append({**plain, **{f"net_ema.{n}": t for n, t in copy.items()}, **counted})
            saved(tmp_path / f"{seed}.ckpt", {"state_dict": states[-1]})
        parents = load_parents([tmp_path / "0.ckpt", tmp_path / "1.ckpt"], arch, input_shape=SHAPE)
        written = file_tensors(parents[0], parents[0].state)
        assert {n: t.dtype for n, t in written.items()} == {n: t.dtype for n, t in states[0].items()}
        first = next(iter(make(0)))
        copied = written[f"net_ema.{first if dots else first.replace('.', '')}"]
        assert torch.equal(copied, states[0][f"net.{first}"].float())
        save_parent(tmp_path / "again.safetensors", parents[0])
        again = load_parent(tmp_path / "again.safetensors", arch, input_shape=SHAPE)
        assert same(dict(again.state), dict(parents[0].state))
        assert again.copies == parents[0].copies
        averages = load_parent(tmp_path / "again.safetensors", arch, input_shape=SHAPE, weights="ema")
        assert torch.equal(averages.state[next(iter(averages.state))], again.state[next(iter(again.state))])


def test_parents_read_by_samples_keep_the_form_of_their_files(tmp_path: Path) -> None:
    torch.manual_seed(0)
    x, files = torch.randn(300, 20), []
    for seed in (0, 1):
        state = half(mlp_state(seed, "net.")) | {"criterion.weight": torch.ones(5)}
        files.append(saved(tmp_path / f"{seed}.pt", {"state_dict": state}))
    parents = load_parents(files)
    tanh = load_parents(files, "mlp:activation=tanh")
    y = tanh[0].model(x).argmax(1)
    found, _ = settled(parents, make_dataset(x.numpy(), y.numpy(), None, None, 5, "x"))
    assert found[0].architecture.activation == "tanh"
    for one, other in zip(parents, found, strict=True):
        assert same(file_tensors(other, other.state), file_tensors(one, one.state))


class Versioned(nn.Module):
    """Refuses tensors of an unknown version, as torchvision's MNASNet does."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x)

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: dict[str, Any], *rest: Any) -> None:
        assert metadata.get("version") == 2
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_modules_that_ask_for_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.parents.checkpoints.Versioned", Versioned, raising=False)
    for seed in (0, 1):
        torch.manual_seed(seed)
        saved(tmp_path / f"{seed}.pt", dict(Versioned().state_dict()))
    files = [tmp_path / "0.pt", tmp_path / "1.pt"]
    parents = load_parents(files, "tests.parents.checkpoints:Versioned", input_shape=SHAPE)
    assert torch.equal(fused(parents).model.out.bias, (parents[0].state["out.bias"] + parents[1].state["out.bias"]) / 2)


def test_the_store_keeps_names_types_and_what_lies_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    files = []
    for seed in (0, 1):
        state = half(mlp_state(seed, "net.")) | {"criterion.weight": torch.ones(5)}
        files.append(saved(tmp_path / f"{seed}.ckpt", {"state_dict": state}))
    parents = load_parents(files)
    summary = keep_parents(parents, "two")
    assert any("criterion.weight" in line for line in summary["warnings"])
    stored = load_parents(store.parent_paths(summary["id"]))
    for one, other in zip(parents, stored, strict=True):
        assert (other.digest, other.dtypes, other.metadata.reading) == (one.digest, one.dtypes, one.metadata.reading)
        assert same(file_tensors(other, other.state), file_tensors(one, one.state))
    run = tmp_path / "home" / "runs" / "x"
    result = fused(stored, "kf_linear")
    result.save(run)
    assert load_file(run / "fused.safetensors").keys() == torch.load(files[0], weights_only=True)["state_dict"].keys()
    write_state(tmp_path / "x.safetensors", result.file_state(), result.metadata())
    again = load_parent(tmp_path / "x.safetensors")
    assert again.key_map == stored[0].key_map
    assert list(again.beside) == ["criterion.weight"]
