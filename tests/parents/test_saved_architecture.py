"""A file that this program writes says what network its weights are of, and is the same function when read again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fusion_engine import store
from fusion_engine.architectures import MLPConfig, ViTConfig, build, network_shapes
from fusion_engine.core.errors import FusionError
from fusion_engine.core.progress import Progress
from fusion_engine.data import make_dataset
from fusion_engine.jobs.kinds import import_parents
from fusion_engine.parents import (
    Parent,
    load_parent,
    load_parents,
    make_parent,
    read_safetensors,
    save_parent,
    write_state,
)
from fusion_engine.pipeline import FusionResult, fuse
from tests.architectures.configs import CONFIGS, VIT, random_parent
from tests.exported.exported_files import export
from tests.zoo import ZOO
from tests.zoo import build as build_zoo

# Zoo models that take one float tensor and give one vector of logits a sample, and are made of plain operators.
EXPORTABLE = ["mlp", "vgg_bn_2fc", "conv1d_gn", "resnet", "densenet", "mobilenet_se", "shufflenet", "vit_manual",
              "vit_encoder_post"]


def images(shape: tuple[int, ...], count: int = 60) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(5))


def pair(config: Any) -> list[Parent]:
    return [random_parent(name, config, seed) for seed, name in enumerate("ab")]


def fused(parents: list[Parent], recipe: Any = "average", classes: int | None = None) -> FusionResult:
    x = images(parents[0].input_shape)
    data = make_dataset(x.numpy(), None, None, None, classes or parents[0].classes, "samples")
    return fuse(parents, data, recipe)


def assert_same_function(path: Path, model: nn.Module, config: Any) -> Parent:
    again = load_parent(path)
    x = images(config.input_shape, 8)
    with torch.inference_mode():
        torch.testing.assert_close(again.model(x), model(x), rtol=0, atol=0)
    return again


def test_the_configs_try_every_setting() -> None:
    kinds: dict[type, list[Any]] = {}
    for config in CONFIGS.values():
        kinds.setdefault(type(config), []).append(config)
    for configs in kinds.values():
        for field in fields(configs[0]):
            if field.default is not MISSING and field.name != "name":
                assert any(getattr(c, field.name) != field.default for c in configs), field.name


@pytest.mark.parametrize("name", CONFIGS)
def test_parents_and_fused_networks_are_the_same_when_read_again(name: str, tmp_path: Path) -> None:
    parents = pair(CONFIGS[name])
    save_parent(tmp_path / "parent.safetensors", parents[0])
    again = assert_same_function(tmp_path / "parent.safetensors", parents[0].model, CONFIGS[name])
    assert again.architecture == CONFIGS[name]
    result = fused(parents)
    result.save(tmp_path / "run")
    again = assert_same_function(tmp_path / "run" / "fused.safetensors", result.model, CONFIGS[name])
    assert again.architecture == CONFIGS[name]


@pytest.mark.parametrize("name", ["mlp_gelu", "vgg_norm", "resnet_bare", "vit_heads", "vit_post", "vit_mean"])
@pytest.mark.parametrize("width", [0.5, 1.5])
def test_a_fused_network_of_another_width_has_a_config_of_its_own(name: str, width: float, tmp_path: Path) -> None:
    parents = pair(CONFIGS[name])
    result = fused(parents, {"name": "wide", "grouping": "kmeans", "solver": "average", "width": width})
    assert any(result.state[n].shape != t.shape for n, t in parents[0].state.items())
    result.save(tmp_path)
    again = assert_same_function(tmp_path / "fused.safetensors", result.model, CONFIGS[name])
    assert again.architecture != CONFIGS[name]


def test_parents_of_different_widths(tmp_path: Path) -> None:
    wide = replace(CONFIGS["mlp_gelu"], widths=(64, 16, 8, 10))
    result = fused([random_parent("a", CONFIGS["mlp_gelu"]), random_parent("b", wide, 1)], "kf_linear")
    result.save(tmp_path)
    assert_same_function(tmp_path / "fused.safetensors", result.model, CONFIGS["mlp_gelu"])


@pytest.mark.parametrize("name", EXPORTABLE)
def test_exported_programs(name: str, tmp_path: Path) -> None:
    paths = []
    for seed in (0, 1):
        model, (x,) = build_zoo(name, seed)
        paths.append(export(tmp_path / f"{seed}.pt2", model, tuple(x.shape[1:])))
    parents = load_parents(paths)
    save_parent(tmp_path / "parent.safetensors", parents[0])
    assert_same_function(tmp_path / "parent.safetensors", parents[0].model, parents[0])
    result = fused(parents)
    result.save(tmp_path / "run")
    again = assert_same_function(tmp_path / "run" / "fused.safetensors", result.model, parents[0])
    assert again.architecture == parents[0].architecture
    assert name in ZOO


@pytest.mark.parametrize("name", ["mlp_square", "vit_heads", "resnet_groups", "vgg_oblong"])
def test_parent_sets_of_the_app(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run's fused.safetensors, imported again, is the same function and can be fused again."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    parents = pair(CONFIGS[name])
    for j, result in enumerate([fused(parents), fused(parents[::-1], "kf_linear")]):
        result.save(tmp_path / f"{j}")
        (tmp_path / f"{j}" / "fused.safetensors").rename(tmp_path / f"f{j}.safetensors")
    (tmp_path / "job").mkdir()
    paths = [str(tmp_path / f"f{j}.safetensors") for j in (0, 1)]
    assert import_parents.run({"paths": paths}, tmp_path / "job", Progress()) is None
    written = json.loads((tmp_path / "job" / "result.json").read_text())
    for path, stored in zip(paths, store.parent_paths(written["parents"]), strict=True):
        assert_same_function(stored, load_parent(path).model, CONFIGS[name])
        assert load_parent(stored).architecture == CONFIGS[name]


def test_other_settings_are_another_parent_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights are another function with another activation: the store must not take one for the other."""
    monkeypatch.setenv("FUSION_HOME", str(tmp_path / "home"))
    weights = [dict(random_parent(name, CONFIGS["mlp"], seed).state) for seed, name in enumerate("ab")]
    identifiers = set()
    for activation in ("relu", "tanh"):
        config = MLPConfig((64, 12, 8, 10), activation)
        parents = [make_parent(name, config, state) for name, state in zip("ab", weights, strict=True)]
        identifiers.add(import_parents.keep_parents(parents, "pair")["id"])
    assert len(identifiers) == 2


def test_every_setting_shows_in_the_text_of_an_architecture() -> None:
    """What is reused between fusions is looked up by this text and the weights."""
    for config, other in itertools.combinations(CONFIGS.values(), 2):
        assert str(config) != str(other) or network_shapes(config) != network_shapes(other)
    for changed in (replace(VIT, epsilon=1e-3), replace(VIT, pool="mean"), replace(VIT, norm_first=False)):
        assert str(changed) != str(VIT)


# ---- names of tensors


def test_names_that_shapes_do_not_order(tmp_path: Path) -> None:
    """In a state dict the order of its entries tells the order of layers; a safetensors file has none."""
    torch.manual_seed(0)
    model = nn.Sequential()
    for name, (inputs, outputs) in {"way_in": (6, 8), "then": (8, 8), "last": (8, 8), "out": (8, 3)}.items():
        model.add_module(name, nn.Linear(inputs, outputs))
    torch.save(model.state_dict(), tmp_path / "a.pt")
    parent = load_parent(tmp_path / "a.pt")
    save_parent(tmp_path / "a.safetensors", parent)
    again = assert_same_function(tmp_path / "a.safetensors", parent.model, parent)
    assert again.key_map == parent.key_map
    other = make_parent("b", parent.architecture, {n: t + 0.1 for n, t in parent.state.items()})
    result = fused([parent, other])
    result.save(tmp_path)
    assert_same_function(tmp_path / "fused.safetensors", result.model, parent)
    assert read_safetensors(tmp_path / "fused.safetensors")[0].keys() == model.state_dict().keys()


# ---- an architecture that is given, and files that lie


def test_a_given_architecture_wins(tmp_path: Path) -> None:
    parent = random_parent("a", CONFIGS["mlp_gelu"])
    path = tmp_path / "a.safetensors"
    save_parent(path, parent)
    assert load_parent(path, "mlp:activation=tanh").architecture == MLPConfig((64, 12, 8, 10), "tanh")
    assert load_parent(path, "mlp").architecture == parent.architecture
    save_parent(path, random_parent("v", CONFIGS["vit_heads"]))
    told = load_parent(path, "vit:norm=post").architecture
    assert told == replace(CONFIGS["vit_heads"], norm_first=False)
    assert load_parent(path, "vit:heads=2,epsilon=1e-3").architecture == replace(
        CONFIGS["vit_heads"], heads=2, epsilon=1e-3
    )


def test_a_given_architecture_wins_over_a_lie(tmp_path: Path) -> None:
    lying(tmp_path, {"architecture": {"name": "mlp", **MLPConfig((64, 13, 8, 10)).as_json()}})
    assert load_parent(tmp_path / "p.safetensors", "mlp").architecture == CONFIGS["mlp"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("vit:heads=5", "do not fit"),
        ("vit:heads=four", "heads: 'four' is not a whole number"),
        ("vit:head=4", "did you mean 'heads'"),
        ("vit:norm_first=perhaps", "is neither true nor false"),
        ("vit:hidden=3", "do not fit"),
        ("vit:attention=qkv", "do not fit"),
        ("vit:epsilon=nan", "do not fit"),
        ("mlp:activation=relu", "not recognised"),
    ],
)
def test_settings_that_do_not_fit(spec: str, words: str, tmp_path: Path) -> None:
    write_state(tmp_path / "v.safetensors", build(VIT).state_dict())
    with pytest.raises(FusionError, match=words) as caught:
        load_parent(tmp_path / "v.safetensors", spec)
    assert str(caught.value).startswith("v.safetensors: ")
    assert "\n" not in str(caught.value)


def lying(folder: Path, values: Mapping[str, Any]) -> Path:
    write_state(
        folder / "p.safetensors", random_parent("p", CONFIGS["mlp"]).state, {"neuron_fusion_lab": json.dumps(values)}
    )
    return folder / "p.safetensors"


HONEST = {"name": "mlp", **CONFIGS["mlp"].as_json()}
NAMES = {name: name for name in build(CONFIGS["mlp"]).state_dict()}


@pytest.mark.parametrize(
    "values",
    [
        {"architecture": HONEST | {"widths": [64, 13, 8, 10]}},
        {"architecture": HONEST | {"widths": [64, 12, 8]}},
        {"architecture": HONEST | {"bias": False}},
        {"architecture": HONEST | {"activation": "none"}},
        {"architecture": HONEST | {"widths": [float("inf"), 10]}},
        {"architecture": HONEST | {"widths": [10**4000, 10]}},
        {"architecture": HONEST | {"widths": [2**31, 2**31, 10]}},
        {"architecture": HONEST | {"widths": [1] * 10**6}},
        {"architecture": HONEST | {"widths": {"a": 1}}},
        {"architecture": HONEST | {"activation": "x" * 10**6}},
        {"architecture": {"name": "vit", **ViTConfig((1, 8, 8), 4, 16, 4, (24,), (16,), 10).as_json()}},
        {"architecture": {"name": "vit", **VIT.as_json(), "epsilon": float("nan")}},
        {"architecture": {"name": "resnet", "inner": [[1] * 10**5], "widths": [1]}},
        {"architecture": {"name": "os:system"}},
        {"architecture": ["mlp"]},
        {"architecture": {}},
        {"architecture": HONEST, "names": {"fc1.weight": "fc2.weight"}},
        {"architecture": HONEST, "names": {"fc1.weight": 3}},
        {"architecture": HONEST, "names": [1]},
        {"architecture": HONEST, "names": NAMES | {"fc9.weight": "fc1.weight"}},
        {"architecture": HONEST, "names": NAMES | {f"n{i}": "a" for i in range(10**5)}},
    ],
    ids=lambda values: json.dumps(values)[:60],
)
def test_a_file_whose_architecture_does_not_fit_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(FusionError, match=r"^p\.safetensors: ") as caught:
        load_parent(lying(tmp_path, values))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_files_that_say_nothing_are_recognised_as_before(tmp_path: Path) -> None:
    for name in ("mlp", "vgg_norm", "resnet", "vit_qkv"):
        write_state(tmp_path / "p.safetensors", build(CONFIGS[name]).state_dict())
        assert load_parent(tmp_path / "p.safetensors").architecture.name == CONFIGS[name].name
