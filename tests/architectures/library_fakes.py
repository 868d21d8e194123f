"""Small stand-ins for timm, torchvision and transformers, put where imports find them."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn


class Pictures(nn.Module):
    """A network for images of one size: patches, positions, blocks, a head."""

    def __init__(self, img_size: int = 8, in_chans: int = 3, num_classes: int = 7, depth: int = 2) -> None:
        super().__init__()
        height, width = img_size if isinstance(img_size, tuple) else (img_size, img_size)
        self.rates = torch.linspace(0, 0.1, depth).tolist()  # as many networks do, and 'meta' cannot
        self.patches = nn.Conv2d(in_chans, 6, 2, 2)
        self.positions = nn.Parameter(torch.randn(1, 1 + height * width // 4, 6))
        self.token = nn.Parameter(torch.randn(1, 1, 6))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 6)) for _ in range(depth))
        self.head = nn.Linear(6, num_classes)
        self.pretrained_cfg = {"input_size": (3, 8, 8)}

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), 1, 6), x], 1) + self.positions
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean(1))


class Plain(nn.Module):
    """A convolution network for images of any size; aux_loss: with a second output."""

    def __init__(self, num_classes: int = 7, width: int = 4, aux_loss: bool = False) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, width, 3), nn.Linear(width, num_classes)
        self.aux_classifier = nn.Sequential(nn.Linear(width, num_classes)) if aux_loss else None

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.conv(x)).mean((2, 3))
        return {"out": self.fc(h), "aux": self.aux_classifier(h)} if self.aux_classifier is not None else self.fc(h)


def put(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> ModuleType:
    """A module of that name for imports of this test."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def put_timm(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """timm with 'pictures' and 'plain'; the list fills with what its networks were asked for."""
    asked: list[dict[str, Any]] = []
    kinds = {"pictures": Pictures, "plain": Plain}

    def create_model(name: str, pretrained: bool = True, **settings: Any) -> nn.Module:
        asked.append({"name": name, "pretrained": pretrained, **settings})
        return kinds[name](**settings)

    put(monkeypatch, "timm", list_models=lambda: list(kinds), create_model=create_model)
    return asked


def put_torchvision(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """torchvision with 'fcn_plain', a detector and a quantised network."""
    asked: list[dict[str, Any]] = []

    def builder(*, weights: Any = "yes", progress: bool = True, weights_backbone: Any = "yes", **kwargs: Any) -> Any:
        asked.append({"weights": weights, "weights_backbone": weights_backbone})
        return Plain(**kwargs)

    models = SimpleNamespace(
        list_models=lambda: ["fcn_plain", "fasterrcnn_plain", "quantized_plain"],
        get_model_builder=lambda name: builder, get_model=lambda name, **settings: builder(**settings),
    )  # fmt: skip
    module = put(monkeypatch, "torchvision", models=models)
    assert module.__spec__ is not None
    module.__spec__.submodule_search_locations = []
    return asked


@dataclass
class Output:
    loss: Tensor | None
    logits: Tensor


class WordsConfig:
    def __init__(self, **values: Any) -> None:
        self.vocab_size, self.width, self.num_labels = 9, 4, 2
        vars(self).update(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WordsConfig:
        return cls(**{k: len(v) if k == "id2label" else v for k, v in values.items() if k != "id2label"} | (
            {"num_labels": len(values["id2label"])} if "id2label" in values else {}
        ))

    def to_json_string(self, use_diff: bool) -> str:
        return json.dumps({"transformers_version": "0", **vars(self)})


class PreTrainedModel(nn.Module):
    pass


class WordsForClasses(PreTrainedModel):
    """Token ids to classes; the file of old has other names, and the tied decoder is not in it."""

    config_class = WordsConfig
    main_input_name = "input_ids"

    def __init__(self, config: WordsConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.num_labels)
        self.decoder = nn.Linear(config.width, config.vocab_size, bias=False)
        self.decoder.weight = self.words.weight

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Output:
        h = self.norm(self.words(input_ids))
        if attention_mask is not None:
            h = h * attention_mask[..., None]
        return Output(None, self.head(h.mean(1)) + 0 * self.decoder(h).mean())

    @classmethod
    def from_pretrained(cls, path: None, *, config: WordsConfig, state_dict: Any, **_: Any) -> Any:
        model = cls(config)
        given = {k.removeprefix("words_model.").replace("gamma", "weight"): v for k, v in state_dict.items()}
        known = model.state_dict()
        wrong = {(k, v.shape, known[k].shape) for k, v in given.items() if k in known and v.shape != known[k].shape}
        missing = set(known) - set(given) - {"decoder.weight"}
        fitting = {k: v for k, v in given.items() if k in known and v.shape == known[k].shape}
        model.load_state_dict(fitting, strict=False)
        report = {"missing_keys": missing, "unexpected_keys": set(given) - set(known), "mismatched_keys": wrong}
        return model, report


def put_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    logging = SimpleNamespace(
        CRITICAL=50, get_verbosity=lambda: 30, set_verbosity=lambda level: None,
        is_progress_bar_enabled=lambda: False, disable_progress_bar=lambda: None,
    )  # fmt: skip
    put(
        monkeypatch, "transformers", __version__="0", CONFIG_MAPPING={"words": WordsConfig},
        PreTrainedModel=PreTrainedModel, WordsForClasses=WordsForClasses, utils=SimpleNamespace(logging=logging),
        WordsConfig=WordsConfig,
    )  # fmt: skip


WORDS = {
    "model_type": "words", "architectures": ["WordsForClasses"], "vocab_size": 9, "width": 4, "dropout": 0.3,
    "id2label": {"0": "a", "1": "b", "2": "c"}, "_name_or_path": "somewhere", "torch_dtype": "float32",
}  # fmt: skip


def words_file(model: nn.Module) -> dict[str, Tensor]:
    """The tensors as an old file has them."""
    state = {k: v.clone() for k, v in model.state_dict().items() if k != "decoder.weight"}
    state["norm.gamma"] = state.pop("norm.weight")
    return {f"words_model.{k}": v for k, v in state.items()}
