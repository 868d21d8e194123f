"""Exported programs as parents: what they compute, how they fuse, and what is refused of honest files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exported_files import SmallCNN, export, trained
from torch import Tensor, nn

from fusion_engine import fuse
from fusion_engine.core.errors import DataError, FusionError, ParentError, UnsupportedModelError
from fusion_engine.data import Dataset
from fusion_engine.exported import ExportedConfig
from fusion_engine.graph import trace
from fusion_engine.graph.rules.registry import _RULES
from fusion_engine.parents import load_parent, load_parents, read_safetensors, save_parent


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("exported")
    return [export(folder / f"net{seed}.pt2", trained(seed)) for seed in range(2)]


def samples(count: int = 40) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 1, 8, 8, generator=generator)
    return Dataset(x, torch.arange(count) % 10, None, None, 10, "random")


def test_a_program_computes_what_its_module_computes(files: list[Path]) -> None:
    model, parent = trained(0), load_parent(files[0])
    assert (parent.name, parent.input_shape, parent.classes) == ("net0", (1, 8, 8), 10)
    assert list(parent.state) == list(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(parent.state[name], tensor), name
    for batch in (1, 3, 7):
        x = torch.randn(batch, 1, 8, 8)
        assert torch.equal(parent.model(x), model(x))
    model.load_state_dict(parent.state)  # strict: what the program keeps outside its state dict is not in the state


def test_its_trace_is_that_of_the_module(files: list[Path]) -> None:
    x = (torch.randn(4, 1, 8, 8),)
    ours, theirs = trace(load_parent(files[0]).model, x), trace(trained(0), x)
    assert ours.capture.dynamic
    assert list(ours.spaces) == list(theirs.spaces)
    assert list(ours.layers) == list(theirs.layers)
    assert [(v.name, v.layers) for v in ours.levels] == [(v.name, v.layers) for v in theirs.levels]


@pytest.mark.parametrize(
    "recipe",
    [
        {"importance": "activation", "grouping": "hungarian", "solver": "average"},
        {"importance": "activation", "grouping": "kmeans", "solver": "least_squares"},
    ],
    ids=lambda r: r["solver"],
)
def test_fusing_programs_is_fusing_their_modules(files: list[Path], tmp_path: Path, recipe: dict) -> None:
    exported = fuse(load_parents(files), samples(), recipe)
    weights = []
    for seed in range(2):
        torch.save(trained(seed).state_dict(), tmp_path / f"net{seed}.pt")
        weights.append(tmp_path / f"net{seed}.pt")
    modules = fuse(load_parents(weights, "exported_files:SmallCNN", input_shape=(1, 8, 8)), samples(), recipe)
    assert exported.state.keys() == modules.state.keys()
    for name, tensor in modules.state.items():
        torch.testing.assert_close(exported.state[name], tensor, atol=1e-6, rtol=1e-6, msg=name)
    exported.save(tmp_path / "out")
    written, _ = read_safetensors(tmp_path / "out" / "fused.safetensors")
    model = SmallCNN().eval()
    model.load_state_dict(written)
    x = samples().normalised(slice(0, 5))
    torch.testing.assert_close(model(x), exported.model(x))


def test_a_parent_set_keeps_the_program(files: list[Path], tmp_path: Path) -> None:
    original = load_parent(files[0])
    save_parent(tmp_path / "kept.safetensors", original)
    again = load_parent(tmp_path / "kept.safetensors")
    assert isinstance(again.architecture, ExportedConfig)
    assert again.architecture == original.architecture
    assert again.digest == original.digest
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(again.model(x), original.model(x))


def test_an_architecture_named_by_the_user_takes_only_the_weights(files: list[Path]) -> None:
    parent = load_parent(files[0], "exported_files:SmallCNN", input_shape=(1, 8, 8))
    assert isinstance(parent.model, SmallCNN)
    assert torch.equal(parent.state["stem.weight"], trained(0).state_dict()["stem.weight"])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(x)))


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    parent = load_parent(export(tmp_path / "tied.pt2", Tied().eval(), (5,)))
    assert parent.model.first.weight is parent.model.second.weight
    assert set(parent.state) == set(Tied().state_dict())


def test_weights_of_other_precisions_become_float32(tmp_path: Path) -> None:
    class Cast(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.weight.float(), self.bias.float())

    model = Cast(5, 3).half()
    parent = load_parent(export(tmp_path / "a.pt2", model, (5,)))
    assert all(t.dtype == torch.float32 for t in parent.state.values())
    assert parent.metadata.reading == ("converted from float16 to float32",)
    x = torch.randn(4, 5)
    torch.testing.assert_close(parent.model(x), model(x))


# ---- belonging together


class Other(SmallCNN):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.tanh(x))


class OtherConstant(SmallCNN):
    def __init__(self) -> None:
        super().__init__()
        self.offset = torch.full((1, 1, 1), 0.5)


@pytest.mark.parametrize("kind", [Other, OtherConstant])
def test_different_programs_are_told_apart(files: list[Path], tmp_path: Path, kind: type[nn.Module]) -> None:
    with pytest.raises(ParentError, match="net0 and other differ in what their layers do: exported program") as caught:
        load_parents([files[0], export(tmp_path / "other.pt2", kind().eval())])
    assert "\n" not in str(caught.value)


def test_different_widths_are_told_by_layer(files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ParentError, match=r"layer 'stem.weight' is \(6, 1, 3, 3\) in net0"):
        load_parents([files[0], export(tmp_path / "wide.pt2", trained(3, width=8))])


# ---- honest programs that cannot be used


def test_a_fixed_batch_size_is_explained(tmp_path: Path) -> None:
    fixed = export(tmp_path / "fixed.pt2", trained(0), dynamic=False)
    with pytest.raises(ParentError) as caught:
        load_parent(fixed)
    assert str(caught.value) == (
        "fixed.pt2: the export fixed the batch size to that of its example (4); export again with "
        "dynamic_shapes={'x': {0: torch.export.Dim('batch')}}"
    )


class Several(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x + 1, x + 2


class Sorting(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(x.unsqueeze(1).transpose(1, 2) @ x.unsqueeze(1))[:, 0]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.Dropout(), nn.Linear(4, 3)).train(), "training mode .*model.eval"),
        (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4)).train(), "model.eval"),
        (Several(), "2 outputs"),
        (Sorting(), "operator torch.ops.aten.linalg_inv.*state_dict"),
        (nn.Sequential(nn.Linear(5, 4), nn.Unflatten(1, (2, 2))), "logits of shape"),
    ],
    ids=["dropout", "batch norm", "outputs", "operator", "logits"],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, model: nn.Module, message: str) -> None:
    with pytest.raises(FusionError, match=message) as caught:
        load_parent(export(tmp_path / "a.pt2", model, (5,)))
    assert str(caught.value).startswith("a.pt2: ")
    assert "\n" not in str(caught.value)


def test_half_precision_inputs_are_refused(tmp_path: Path) -> None:
    path = export(tmp_path / "a.pt2", nn.Linear(5, 4).half(), (5,), dtype=torch.float16)
    with pytest.raises(ParentError, match="input is not float32"):
        load_parent(path)


class Wrapped(nn.Module):
    """Code under no_grad and without autocast, in one another, as attentions and rotary positions have it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        with torch.amp.autocast("cpu", enabled=False):
            with torch.no_grad():
                angles = torch.arange(4) * 0.5
            x = torch.relu(x.float() + angles.cos())
        with torch.no_grad():
            low, high = x.amin(), torch.arange(3) * 0.1
        return self.last(x + low) + high


def test_code_under_no_grad_and_autocast_is_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Wrapped().eval(), torch.randn(6, 5)
    parent = load_parent(export(tmp_path / "a.pt2", model, (5,)))
    torch.testing.assert_close(parent.model(x), model(x))


class Words(nn.Module):
    """Token ids to a class, or with `each` to the logits of every position."""

    def __init__(self, each: bool) -> None:
        super().__init__()
        self.table, self.hidden, self.head, self.each = nn.Embedding(7, 6), nn.Linear(6, 8), nn.Linear(8, 3), each

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.hidden(self.table(tokens)))
        return self.head(x if self.each else x.mean(1))


@pytest.mark.parametrize("each", [False, True])
def test_programs_of_token_ids_are_read_and_fused(tmp_path: Path, each: bool) -> None:
    torch.manual_seed(0)
    model = Words(each)
    path = export(tmp_path / "a.pt2", model, (5,), dtype=torch.int64)
    parent = load_parent(path)
    x = torch.randint(0, 7, (24, 5))
    assert getattr(parent.architecture, "inputs", None) == ("tokens",)
    assert parent.classes == 3
    torch.testing.assert_close(parent.model(x), model(x))
    labels = torch.arange(120).reshape(24, 5) % 3
    data = Dataset(x, labels if each else labels[:, 0], None, None, 3, "words", ("input_ids",))
    save_parent(tmp_path / "b.safetensors", parent)
    result = fuse([parent, load_parent(tmp_path / "b.safetensors")], data, "git_rebasin_activations")
    torch.testing.assert_close(result.model(x), model(x))
    with pytest.raises(DataError, match="read for the inputs tokens, and here are real numbers"):
        fuse([parent, parent], Dataset(x.float(), None, None, None, 0, "words"), "average")


def test_another_ending_does_not_matter(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(files[0].read_bytes())
    assert load_parent(tmp_path / "net.pt").architecture == load_parent(files[0]).architecture


def test_every_operator_that_fusing_understands_is_read() -> None:
    from fusion_engine.exported.operators import find_operator

    def is_read(name: str, overload: str) -> bool:
        try:
            find_operator(f"torch.ops.aten.{name}.{overload}")
        except UnsupportedModelError:
            return False
        return True

    for name in set(_RULES) - {"_assert_tensor_metadata"}:
        packet = getattr(torch.ops.aten, name, None)
        # Without one it is no operator of this version of torch, or one that torch takes apart.
        assert packet is None or any(is_read(name, o) for o in packet.overloads()), name


class Reader(nn.Module):
    """Tokens and a mask to classes; without a mask to the next token's logits."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(12, 8)
        self.hidden, self.head = nn.Linear(8, 16), nn.Linear(16, 12 if causal else 3)


class Classifier(Reader):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask[..., None].float()
        x = (self.words(input_ids) * mask).sum(1) / mask.sum(1)
        return self.head(torch.relu(self.hidden(x)))


class NextToken(Reader):
    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(torch.relu(self.hidden(self.words(input_ids))))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("boolean", [False, True])
def test_programs_of_tokens(tmp_path: Path, causal: bool, boolean: bool) -> None:
    if causal and boolean:
        pytest.skip("it has no mask")
    generator = torch.Generator().manual_seed(0)
    ids, mask = torch.randint(0, 12, (40, 6), generator=generator), torch.ones(40, 6, dtype=torch.int64)
    mask[:, 4:] = torch.randint(0, 2, (40, 2), generator=generator)
    given = (ids,) if causal else (ids, mask.bool() if boolean else mask)
    x = ids if causal else torch.stack([ids, mask], 1)
    names = ("input_ids",) if causal else ("input_ids", "attention_mask")
    data = Dataset(x, None if causal else torch.arange(40) % 3, None, None, 12 if causal else 3, "words", names)
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append((NextToken if causal else Classifier)(causal).eval())
        batch = torch.export.Dim("batch")
        shapes = tuple({0: batch} for _ in given)
        program = torch.export.export(models[-1], tuple(t[:4] for t in given), dynamic_shapes=shapes)
        torch.export.save(program, tmp_path / f"net{seed}.pt2")
    parents = load_parents([tmp_path / f"net{seed}.pt2" for seed in range(2)])
    assert isinstance(parents[0].architecture, ExportedConfig)
    assert (parents[0].architecture.inputs, parents[0].input_shape) == (names, tuple(x.shape[1:]))
    assert parents[0].classes == (12 if causal else 3)
    assert torch.equal(parents[1].model(x), models[1](*given))
    result = fuse(parents, data, {"importance": "activation", "grouping": "permutation", "solver": "average"})
    result.save(tmp_path / "run")
    again = load_parent(tmp_path / "run" / "fused.safetensors")
    assert torch.equal(again.model(x), result.model(x))
    with pytest.raises(FusionError, match="was read for the inputs"):
        fuse(parents, Dataset(torch.rand(40, *x.shape[1:]), torch.arange(40) % 3, None, None, 3, "real"), "average")


def test_tokens_beside_real_numbers_are_refused(tmp_path: Path) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(5, 4), nn.Linear(4, 3)

        def forward(self, ids: Tensor, more: Tensor) -> Tensor:
            return self.head(self.words(ids).mean(1) + more)

    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Mixed(), (torch.zeros(4, 6, dtype=torch.int64), torch.rand(4, 4)), dynamic_shapes=({0: batch}, {0: batch})
    )
    torch.export.save(program, tmp_path / "mixed.pt2")
    with pytest.raises(ParentError, match=r"mixed\.pt2: the program takes 2 inputs, and not all are whole numbers"):
        load_parent(tmp_path / "mixed.pt2")
