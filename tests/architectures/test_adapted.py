import copy
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from fusion_engine.architectures import build, example_input, match
from fusion_engine.architectures.adapted import adapted, find_logits
from fusion_engine.architectures.custom import custom_config
from fusion_engine.core.errors import UnsupportedModelError
from fusion_engine.graph import trace

HERE = __name__


@dataclass
class Output:
    loss: Tensor | None
    hidden: Tensor
    logits: Tensor


class Reader(nn.Module):
    """A classifier of tokens as Hugging Face writes them; boolean: it indexes with its mask."""

    def __init__(self, boolean: bool = False) -> None:
        super().__init__()
        self.boolean = boolean
        self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Output:
        h = self.embed(input_ids)
        if self.boolean:
            h = h.masked_fill(~attention_mask[..., None], 0.0)
        else:
            h = h * attention_mask[..., None]
        return Output(None, h, self.head(h.mean(1)))


class Needy(Reader):
    def forward(self, input_ids: Tensor, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
        return self.embed(input_ids)


class BooleanReader(Reader):
    def __init__(self) -> None:
        super().__init__(boolean=True)


TOKENS = ("input_ids", "attention_mask", "token_type_ids")


@pytest.mark.parametrize("name", ["Reader", "BooleanReader"])
def test_a_module_of_several_inputs_becomes_one_of_one_tensor(name: str) -> None:
    config, assumed = custom_config(f"{HERE}:{name}", (3, 5), TOKENS)
    assert config.classes == 3
    assert "'logits' is taken" in assumed["outputs"]
    assert "takes no token_type_ids" in assumed["inputs"]
    model = build(config)
    x = example_input(config)
    x[0, 0], x[0, 1] = torch.arange(5), torch.tensor([1, 1, 0, 0, 0])
    plain = Reader()
    plain.load_state_dict(model.state_dict())  # its names are its own
    expected = plain(x[:, 0], x[:, 1]).logits
    assert torch.equal(model(x), expected)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    assert list(trace(model, (x,)).layers) == ["head"]


def test_a_module_that_needs_another_input_is_refused_in_one_line() -> None:
    with pytest.raises(UnsupportedModelError, match="needs the input 'pixel_values', and the data has input_ids"):
        custom_config(f"{HERE}:Needy", (3, 5), TOKENS)
    with pytest.raises(UnsupportedModelError, match="does not take inputs of shape"):
        custom_config(f"{HERE}:Reader", (5,))


def test_match_says_what_was_assumed() -> None:
    found = match(Reader().state_dict(), f"{HERE}:Reader", (3, 5), TOKENS)
    assert set(found.assumed) == {"outputs", "inputs"}


Pair = namedtuple("Pair", ["first", "out"])


@pytest.mark.parametrize(
    ("output", "value", "note"),
    [
        (torch.ones(1), 1, ""),
        ({"aux": torch.zeros(1), "out": torch.ones(1)}, 1, "'out' is taken; left out: aux"),
        ({"predictions": torch.ones(1)}, 1, ""),
        ((torch.ones(1, dtype=torch.int64), torch.full((1,), 2.0), torch.ones(1)), 2, "first tensor, 1, is taken"),
        ([torch.ones(1)], 1, ""),
        (Pair(torch.zeros(1), torch.ones(1)), 1, "'out' is taken; left out: first"),
        (Output(None, torch.zeros(1), torch.ones(1)), 1, "'logits' is taken; left out: loss, hidden"),
    ],
)
def test_logits_are_found_by_name_or_it_is_said_what_was_taken(output: object, value: float, note: str) -> None:
    found = find_logits(output)
    assert float(found.logits) == value
    assert note in found.note
    assert bool(found.note) == bool(note)


def test_outputs_without_real_numbers_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="no tensor of real numbers"):
        find_logits({"ids": torch.ones(1, dtype=torch.int64)})


def test_a_single_input_is_given_as_it_is() -> None:
    model = adapted(nn.Sequential(nn.Embedding(3, 2)), ("input_ids",))
    assert model(torch.zeros(2, 4, dtype=torch.int64)).shape == (2, 4, 2)
