"""Networks by name out of libraries: grammar, what weights tell, refusals, and files that are read again."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from library_fakes import (
    WORDS,
    Pictures,
    Plain,
    WordsConfig,
    WordsForClasses,
    put_timm,
    put_torchvision,
    put_transformers,
    words_file,
)
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fusion_engine.architectures import LibraryConfig, available, is_custom, match
from fusion_engine.architectures.libraries import building, importing
from fusion_engine.architectures.libraries.config import split_library_spec
from fusion_engine.core.errors import FusionError, ParentError, UnsafeFileError, UnsupportedModelError
from fusion_engine.parents import fill, load_base, load_parent, load_parents, save_parent


def refused(spec: str, state: dict[str, Tensor], shape: tuple[int, ...] | None = None) -> str:
    with pytest.raises(FusionError) as problem:
        match(state, spec, shape)
    assert "\n" not in str(problem.value)
    return str(problem.value)


def test_the_grammar_of_specs() -> None:
    assert split_library_spec("timm:a.b_16:num_classes=10,input=3x64x48,drop=0.5,deep=true") == (
        "timm", "a.b_16", {"num_classes": 10, "drop": 0.5, "deep": True}, (3, 64, 48)
    )
    assert split_library_spec("hf:some/where:odd") == ("hf", "some/where:odd", {}, None)
    assert not any(map(is_custom, ("hf", "hf:x", "timm:x", "torchvision:resnet50:num_classes=3")))
    assert is_custom("torchvision.models:resnet50")
    with pytest.raises(UnsupportedModelError, match="'num_classes' is no setting; write timm:NAME:num_classes=10"):
        split_library_spec("timm:x:num_classes")
    with pytest.raises(UnsupportedModelError, match="written like input=3x64x64"):
        split_library_spec("timm:x:input=big")


@pytest.mark.parametrize("origin", ["torchvision:resnet18", "timm:vit", "hf"])
def test_a_library_that_is_not_there_is_named_with_what_to_install(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "installed", lambda package: False)
    state = {"head.weight": torch.zeros(2, 2)}
    with pytest.raises(UnsupportedModelError, match=r"which is not installed: pip install \.\[zoo\]"):
        match(state, origin, (3, 8, 8), described=WORDS)


def test_a_library_that_does_not_import_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "installed", lambda package: package == "timm")

    def broken(name: str) -> ModuleType:
        raise RuntimeError("operator does not exist\nmore")

    monkeypatch.setattr(importing.importlib, "import_module", broken)
    assert "timm is installed and does not import (operator does not exist); install the builds for torch" in refused(
        "timm:vit", {}
    )


def test_operators_of_an_extension_that_does_not_load_are_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_meta_registrations.py").write_text('register_fake("torchvision::only_in_this_test")')
    (tmp_path / "_C.so").write_bytes(b"no library")
    found = ModuleSpec("torchvision", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importing.importlib.util, "find_spec", lambda name: found)
    importing._declare_operators.__wrapped__()
    torch.library.register_fake("torchvision::only_in_this_test", lambda x: x)  # fails for an unknown operator


def test_classes_channels_and_size_come_from_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = put_timm(monkeypatch)
    state = {f"module.{k}": v for k, v in Pictures(12, 1, 5).state_dict().items()}
    found = match(state, "timm:pictures.some_tag")
    assert isinstance(found.config, LibraryConfig)
    assert found.config.values == {"img_size": 12, "in_chans": 1, "num_classes": 5}
    assert (found.config.input_shape, found.config.classes) == ((1, 12, 12), 5)
    assert found.key_map["head.weight"] == "module.head.weight"
    assert "inputs of 1 x 12 x 12 assumed; give --arch timm:pictures:input=" in found.assumed["input_shape"]
    assert not match(state, "timm:pictures", (1, 12, 12)).assumed
    assert all(not each["pretrained"] for each in asked)
    assert available()["timm"]


def test_images_of_another_size_than_the_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    put_timm(monkeypatch)
    line = refused("timm:pictures", Pictures(12).state_dict(), (3, 8, 8))
    assert "does not take inputs of shape (3, 8, 8)" in line
    wide = match(Pictures((8, 16)).state_dict(), "timm:pictures", (3, 8, 16)).config
    assert wide.values["img_size"] == [8, 16]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("timm:picture", "it has no network 'picture'; did you mean 'pictures'?"),
        ("timm:pictures:pretrained=true", "pretrained cannot be set to True"),
        ("timm:pictures:checkpoint_path=1", "checkpoint_path cannot be set to 1"),
        ("timm:pictures:depth=etc", "depth cannot be set to 'etc'"),
        ("timm:pictures:depht=3", "unexpected keyword argument 'depht'"),
        ("timm:plain", "the file has no tensor 'conv.weight'"),
        ("torchvision:fasterrcnn_plain", "it has no network 'fasterrcnn_plain'"),
        ("torchvision:quantized_plain", "it has no network 'quantized_plain'"),
        ("torchvision:fcn_plain:weights=1", "weights cannot be set to 1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(spec: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_timm(monkeypatch)
    put_torchvision(monkeypatch)
    assert line in refused(spec, Pictures().state_dict(), (3, 8, 8))


def test_torchvision_downloads_no_backbone_and_finds_auxiliary_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = put_torchvision(monkeypatch)
    found = match(Plain(num_classes=3, aux_loss=True).state_dict(), "torchvision:fcn_plain", (3, 9, 9))
    assert found.config.values == {"aux_loss": True, "num_classes": 3}  # type: ignore[attr-defined]
    assert "'out' is taken; left out: aux" in found.assumed["outputs"]
    assert all(each == {"weights": None, "weights_backbone": None} for each in asked)


def test_a_file_says_what_network_of_what_library_it_is_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_timm(monkeypatch)
    first, second = Pictures(12, 1, 5), Pictures(12, 1, 5)
    for number, module in enumerate((first, second)):
        torch.save({f"module.{k}": v.half() for k, v in module.state_dict().items()}, tmp_path / f"{number}.pth")
    given = [tmp_path / "0.pth", tmp_path / "1.pth"]
    parents = load_parents(given, "timm:pictures", input_shape=(1, 12, 12))
    save_parent(tmp_path / "kept.safetensors", parents[0])
    again = load_parent(tmp_path / "kept.safetensors")
    assert again.architecture == parents[0].architecture
    assert again.digest == parents[0].digest
    kept = load_file(tmp_path / "kept.safetensors")
    assert all(name.startswith("module.") and t.dtype == torch.float16 for name, t in kept.items())
    x = torch.randn(2, 1, 12, 12)
    assert torch.equal(again.model(x), parents[0].model(x))
    assert load_parent(given[0], parents[0].architecture.spec).architecture == again.architecture  # type: ignore[attr-defined]
    base = load_base(given[1], parents)
    assert base is not None
    assert base.digest == parents[1].digest


def test_made_up_configs_end_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_timm(monkeypatch)
    torch.save(Pictures().state_dict(), tmp_path / "first.pt")
    parent = load_parent(tmp_path / "first.pt", "timm:pictures", input_shape=(3, 8, 8))
    save_parent(tmp_path / "a.safetensors", parent)
    tensors, header = load_file(tmp_path / "a.safetensors"), _header(tmp_path / "a.safetensors")

    def told(**changes: Any) -> str:
        said = json.loads(header["neuron_fusion_lab"])
        said["architecture"] |= changes
        save_file(tensors, tmp_path / "b.safetensors", {"neuron_fusion_lab": json.dumps(said)})
        with pytest.raises((ParentError, UnsupportedModelError)) as problem:
            load_parent(tmp_path / "b.safetensors")
        return str(problem.value)

    assert "the tensors do not fit the architecture timm:pictures" in told(settings={"depth": 3})
    assert "its tensors do not fit what it says" in told(settings={"img_size": 2500})
    assert "not valid" in told(settings=3)
    assert "not valid" in told(input_shape=[3, -8, 8])
    assert "holds values that no network has" in told(settings={"depth": 10**12})
    assert "nested too deeply" in told(settings={"a": [[[[[[[[1]]]]]]]]})
    assert "pretrained cannot be set" in told(settings={"pretrained": True})
    monkeypatch.setattr(building, "_MOST_PARTS", 100)
    assert "more than 100 parts" in told(settings={"depth": 2**12})
    with pytest.raises(UnsafeFileError, match="more than 100 parts"):
        building.built("x", lambda: nn.ModuleList(nn.Identity() for _ in range(10**9)))


def _header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata())


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of config.json and weights under old names, the tied ones once."""
    put_transformers(monkeypatch)
    model = WordsForClasses(WordsConfig(num_labels=3))
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(WORDS))
    save_file(words_file(model), folder / "model.safetensors")
    return folder


def test_hugging_face_files_are_loaded_as_transformers_does(words: Path, tmp_path: Path) -> None:
    parent = load_parent(words, input_shape=(2, 5), tokens=("input_ids", "attention_mask"))
    config = parent.architecture
    assert isinstance(config, LibraryConfig)
    assert (str(config), config.classes, config.inputs) == ("hf:WordsForClasses", 3, ("input_ids", "attention_mask"))
    assert config.values.keys() == {"model_type", "num_labels", "vocab_size", "width"}
    assert parent.key_map["norm.weight"] == "words_model.norm.gamma"
    assert set(parent.key_map.values()) == set(load_file(words / "model.safetensors"))
    assert torch.equal(parent.state["decoder.weight"], parent.state["words.weight"])
    x = torch.stack([torch.tensor([[1, 2, 3, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])], 1)
    own = WordsForClasses.from_pretrained(
        None, config=WordsConfig(num_labels=3), state_dict=load_file(words / "model.safetensors")
    )[0]
    assert torch.equal(parent.model(x), own(x[:, 0], x[:, 1]).logits)
    save_parent(tmp_path / "again.safetensors", parent)
    assert set(load_file(tmp_path / "again.safetensors")) == set(load_file(words / "model.safetensors"))
    again = load_parent(tmp_path / "again.safetensors")
    assert (again.architecture, again.digest) == (config, parent.digest)
    beside = load_parent(words / "model.safetensors", "hf", input_shape=(2, 5), tokens=("input_ids", "attention_mask"))
    assert beside.architecture == config


def test_without_data_a_network_of_tokens_takes_ids(words: Path) -> None:
    assert load_parent(words).architecture.input_shape == (16,)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"model_type": "word"}, "the model type 'word', which transformers 0 lacks; did you mean 'words'?"),
        ({"architectures": []}, "does not say which class it is of"),
        ({"architectures": ["WordsConfig"]}, "transformers 0 has no network 'WordsConfig'"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({"width": 5}, "has another shape than config.json says"),
        ({"width": 10**12}, "holds values that no network has"),
    ],
)
def test_configs_that_do_not_fit(words: Path, change: dict[str, Any], line: str) -> None:
    (words / "config.json").write_text(json.dumps(WORDS | change))
    with pytest.raises((UnsupportedModelError, ParentError)) as problem:
        load_parent(words, "hf")
    assert line in str(problem.value)
    assert "\n" not in str(problem.value)


def test_weights_of_another_network_than_the_config(words: Path, tmp_path: Path) -> None:
    state = load_file(words / "model.safetensors")
    lacking = {name: tensor for name, tensor in state.items() if "head" not in name}
    save_file(lacking, words / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match=r"the file has no tensor 'head\.\w+', which the network needs"):
        load_parent(words, "hf")
    save_file({**state, "more": torch.zeros(2, 2)}, words / "model.safetensors")
    with pytest.raises(UnsupportedModelError, match="the file has a tensor 'more' that a WordsForClasses lacks"):
        load_parent(words, "hf")
    with pytest.raises(UnsupportedModelError, match=r"no config\.json beside the weights"):
        match(state, "hf")
    with pytest.raises(UnsupportedModelError, match="there is no nowhere"):
        match(state, f"hf:{tmp_path / 'nowhere'}")


def test_timms_files_on_the_hub_name_their_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_timm(monkeypatch)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "pictures", "num_classes": 5}))
    save_file(Pictures(num_classes=5).state_dict(), tmp_path / "model.safetensors")
    assert str(load_parent(tmp_path, input_shape=(3, 8, 8)).architecture) == "timm:pictures"


REAL = ["torchvision:mobilenet_v3_small", "timm:vit_tiny_patch16_224", "hf"]


@pytest.mark.parametrize("spec", REAL)
def test_the_real_libraries(spec: str, tmp_path: Path) -> None:
    """Needs the optional packages."""
    package = {"hf": "transformers"}.get(spec, spec.partition(":")[0])
    if not importing.installed(package):
        pytest.skip(f"{package} is not installed (pip install .[zoo])")
    module: Any = importing.library(package)
    if spec == "hf":
        kind = module.BertForSequenceClassification
        config = module.BertConfig(
            vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        )
        kind(config).save_pretrained(tmp_path)
        parent = load_parent(tmp_path, input_shape=(5,), tokens=("input_ids",))
        own = kind.from_pretrained(tmp_path, attn_implementation="eager").eval()
        x = torch.randint(0, 20, (3, 5))
        assert torch.allclose(parent.model(x), own(x).logits, atol=1e-6)
        return
    name = spec.partition(":")[2]
    if package == "timm":
        model = module.create_model(name, img_size=64, num_classes=3)
    else:
        model = module.models.get_model(name, weights=None, num_classes=3)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    parent = load_parent(tmp_path / "a.pth", spec, input_shape=(3, 64, 64))
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(parent.model(x), model.eval()(x))
    assert sys.modules[package] is module


class Versioned(nn.Linear):
    """As torchvision's MNASNet: it refuses a state dict that does not say its version."""

    _version = 2

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any) -> None:
        if local_metadata.get("version") is None:
            raise ValueError("version should be set")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_modules_that_look_at_the_version_of_a_state_dict_are_filled() -> None:
    module, state = Versioned(2, 2), nn.Linear(2, 2).state_dict()
    fill(module, dict(state))
    assert torch.equal(module.weight, state["weight"])
