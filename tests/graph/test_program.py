"""Programs: any part of the graph, with any state, differentiable, in eval and training mode."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_engine.core.errors import ParentError, UnsupportedModelError
from fusion_engine.graph import Program, trace
from tests.zoo import build
from tests.zoo_models.chains import MLP, VGG

from .traced_zoo import Traced, difference, double, traced


def outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        result = model(*inputs)
    return result if isinstance(result, tuple) else (result,)


def test_the_whole_graph_is_the_model(zoo: Traced) -> None:
    model, inputs = build(zoo.name)
    with torch.no_grad():
        assert difference(outputs(model, inputs), zoo.program(model.state_dict(), *inputs)) < 1e-5
    assert outputs(model, inputs)[0].dtype == torch.float32
    assert zoo.run(zoo.state)[0].dtype == torch.float64


def test_another_parent_and_other_batch_sizes(zoo: Traced) -> None:
    other, _ = build(zoo.name, seed=5)
    state = double(other.state_dict())
    for rows in ([0], [2, 1, 0, 3, 3, 0, 1]):
        inputs = tuple(x[rows] for x in zoo.inputs)
        assert difference(outputs(copy.deepcopy(other).double(), inputs), zoo.run(state, *inputs)) < 1e-10


def test_another_width_runs() -> None:
    zoo, wide = traced("vgg11"), VGG(width=2).eval()
    inputs = (torch.randn(3, 3, 32, 32),)
    assert difference(outputs(wide, inputs), zoo.run(wide.state_dict(), *inputs)) < 1e-6


def test_any_node_to_any_node() -> None:
    zoo = traced("vgg_bn_2fc")
    layers = zoo.trace.layers
    first, last = layers["features.8"], layers["classifier.0"]
    whole = Program(zoo.trace, None, [first.output, last.input, last.output])
    middle, inner, end = whole(zoo.state, *zoo.inputs)
    part = Program(zoo.trace, [first.output], [last.input, last.output])
    assert difference((inner, end), part(zoo.state, middle)) == 0
    assert "features.0.weight" not in part.tensors
    assert "features.11.weight" in part.tensors
    assert Program(zoo.trace, [first.output], [first.output])(zoo.state, middle)[0] is middle


def test_differentiable_in_inputs_and_state() -> None:
    zoo = traced("mlp")
    state = {k: v.clone().requires_grad_() for k, v in zoo.state.items()}
    x = zoo.inputs[0].clone().requires_grad_()
    hidden, out = Program(zoo.trace, None, [zoo.trace.layers["fc.1"].output, zoo.trace.output])(state, x)
    grads = torch.autograd.grad(out.sum(), [x, hidden, *state.values()])
    assert all(bool(g.abs().sum() > 0) for g in grads)
    model = MLP().double()
    model.load_state_dict(zoo.state)
    y = zoo.inputs[0].clone().requires_grad_()
    model(y).sum().backward()
    torch.testing.assert_close(grads[0], y.grad)


def test_weights_are_not_copied_and_states_are_not_changed(zoo: Traced) -> None:
    before = {k: v.clone() for k, v in zoo.state.items()}
    zoo.run(zoo.state)
    assert all(torch.equal(before[k], v) for k, v in zoo.state.items())
    assert not any(isinstance(v, nn.Parameter) for v in vars(zoo.program).values())


def test_tied_weights_under_either_name() -> None:
    zoo = traced("language_model")
    for name in ("token.weight", "out.weight"):
        state = {k: v for k, v in zoo.state.items() if k != name}
        assert difference(zoo.run(zoo.state), zoo.run(state)) == 0
    with pytest.raises(ParentError, match=r"norm\.weight"):
        zoo.run({k: v for k, v in zoo.state.items() if k != "norm.weight"})


def test_a_part_that_needs_more_inputs_is_refused() -> None:
    zoo = traced("unet")
    with pytest.raises(UnsupportedModelError, match="needs input 'x'"):
        Program(zoo.trace, [zoo.trace.layers["middle"].output], [zoo.trace.output])
    with pytest.raises(UnsupportedModelError, match="no node 'nowhere'"):
        Program(zoo.trace, None, ["nowhere"])
    with pytest.raises(UnsupportedModelError, match="takes 1 inputs"):
        zoo.run(zoo.state, *zoo.inputs, *zoo.inputs)


class FixedBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu().view(4, 8))


def test_a_fixed_batch_size_is_filled_up() -> None:
    model, x = FixedBatch().eval(), torch.randn(8, 6)
    found = trace(model, (x[:4],))
    program = Program(found, None, [found.output])
    expected = torch.cat([*outputs(model, (x[:4],)), *outputs(model, (x[4:],))])
    for count in (1, 4, 5, 8):
        assert difference((expected[:count],), program(model.state_dict(), x[:count])) < 1e-6


def test_batch_norm_in_training_mode_is_the_module_s() -> None:
    model, _ = build("resnet")
    found = trace(model, (torch.randn(2, 3, 16, 16),))
    state = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(8, 3, 16, 16)
    out = Program(found, None, [found.output], train=True)(state, x)[0]
    expected = model.train()(x)
    torch.testing.assert_close(out, expected.detach(), rtol=1e-4, atol=1e-5)
    assert int(state["bn1.num_batches_tracked"]) == 1
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["vgg_bn_2fc", "vit_module", "vit_encoder_pre"])
def test_dropout_is_active_in_training_mode_only(name: str) -> None:
    zoo = traced(name)
    train = Program(zoo.trace, None, [zoo.trace.output], train=True)
    state = {k: v.clone() for k, v in zoo.state.items()}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        assert difference(train(state, *zoo.inputs), train(state, *zoo.inputs)) > 1e-6
    assert difference(zoo.run(zoo.state), zoo.run(zoo.state)) == 0


class InPlace(nn.Module):
    """Writes into a view, and into a tensor that a view still shows."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        left = h[:, :4]
        h.mul_(2)
        left.relu_()
        return self.b(h + F.pad(left, (0, 4)))


def test_writes_through_views_are_followed() -> None:
    model, x = InPlace().eval(), torch.randn(4, 6)
    found = trace(model, (x,))
    assert difference(outputs(model, (x,)), Program(found, None, [found.output])(model.state_dict(), x)) < 1e-6


@pytest.mark.gpu
def test_programs_run_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for name in ("vgg_bn_2fc", "language_model", "roll"):
        zoo = traced(name)
        state = {k: v.cuda() for k, v in zoo.state.items()}
        result = zoo.run(state, *(x.cuda() for x in zoo.inputs))
        assert result[0].is_cuda
        assert difference(zoo.run(zoo.state), tuple(t.cpu() for t in result)) < 1e-8
