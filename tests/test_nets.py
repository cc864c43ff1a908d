"""The hard nets are what their names say: the oracle is the graph that torch records and torch's own gradient."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests import nets


def _gradient(net: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x).square().sum(), x)
    return gradient


def _node_names(output: Tensor) -> set[str]:
    names, todo = set(), [output.grad_fn]
    while todo:
        if (node := todo.pop()) is not None:
            names.add(node.name())
            todo += [before for before, _ in node.next_functions]
    return names


@pytest.mark.parametrize("factory", nets.EVERY)
def test_every_net_is_seeded_evaluating_and_in_float64(factory: Callable[..., nn.Module]) -> None:
    """Oracle: a second net of the same seed gives the same bits, one of another seed does not."""
    net, x = factory(), nets.images()
    assert not any(part.training for part in net.modules())
    logits = net(x)
    assert logits.shape == (2, nets.CLASSES)
    assert logits.dtype == torch.float64
    assert torch.equal(factory()(x), logits)
    assert not torch.equal(factory(seed=1)(x), logits)
    assert factory(dtype=torch.float32)(x.float()).dtype == torch.float32


@pytest.mark.parametrize("factory", [factory for factory in nets.EVERY if factory is not nets.mlp])
def test_every_spatial_net_takes_8_by_9_pixels(factory: Callable[..., nn.Module]) -> None:
    assert factory()(nets.images(1, h=8, w=9)).isfinite().all()


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_same_weights_are_the_same_function(factory: Callable[..., nn.Module]) -> None:
    """Oracle: ``plain``, to the last bit, for the output and the gradient."""
    x = nets.images()
    assert torch.equal(factory()(x), nets.plain()(x))
    assert torch.equal(_gradient(factory(), x), _gradient(nets.plain(), x))


@pytest.mark.parametrize("name", ["clamp at 0", "clamp_ at 0", "threshold"])
def test_rectifiers_that_equal_relu_do(name: str) -> None:
    x = nets.images()
    assert torch.equal(nets.rectified_by(name)(x), nets.plain()(x))


@pytest.mark.parametrize(
    ("factory", "node"),
    [
        (nets.view_write, "CopySlices"),
        (nets.checkpointed, "CheckpointFunctionBackward"),
        (nets.custom_function, "_OwnReLUBackward"),
        (nets.hardswish_mix, "HardswishBackward0"),
        (nets.gelu_only, "GeluBackward0"),
        (nets.residual, "SliceBackward0"),
        (nets.functional_inplace_relu, "ReluBackward0"),
        (lambda: nets.rectified_by("clamp at 0"), "ClampBackward1"),
        (lambda: nets.rectified_by("clamp 0 to 1"), "ClampBackward1"),
        (lambda: nets.rectified_by("relu6"), "HardtanhBackward0"),
        (lambda: nets.rectified_by("threshold"), "ThresholdBackward0"),
    ],
)
def test_the_graph_holds_the_node_the_net_is_for(factory: Callable[..., nn.Module], node: str) -> None:
    names = _node_names(factory()(nets.images().requires_grad_()))
    assert any(name.removeprefix("torch::autograd::") == node for name in names), sorted(names)


def test_gelu_and_linear_nets_hold_no_rectifier() -> None:
    for factory in (nets.gelu_only, nets.linear_only):
        names = _node_names(factory()(nets.images()))
        assert not any(name.startswith(("Relu", "Clamp", "Threshold", "Hardtanh")) for name in names)


def test_linear_only_is_linear() -> None:
    """Oracle: superposition."""
    net, x, y = nets.linear_only(bias=False), nets.images(seed=1), nets.images(seed=2)
    assert torch.allclose(net(2 * x - 3 * y), 2 * net(x) - 3 * net(y), rtol=0, atol=1e-12)


def test_a_net_without_biases_is_homogeneous() -> None:
    net, x = nets.gap_linear(bias=False), nets.images()
    assert torch.allclose(net(3 * x), 3 * net(x), rtol=1e-12)


def test_raising_nets_raise_then_and_only_then() -> None:
    net, x = nets.raises_on_call(2), nets.images()
    net(x)
    with pytest.raises(nets.OutOfOrder):
        net(x)
    net(x)
    picky = nets.raises_for(lambda x: bool((x > 9).any()))
    picky(x)
    with pytest.raises(nets.OutOfOrder):
        picky(x + 10)


def test_no_grad_net_has_no_graph() -> None:
    assert nets.no_grad()(nets.images().requires_grad_()).grad_fn is None


def test_train_mode_mixes_the_batch_and_eval_mode_does_not() -> None:
    """Oracle: an image alone against the same image in a batch."""
    x = nets.images(4)
    net = nets.norm_dropout()
    assert torch.allclose(net(x)[:1], net(x[:1]), rtol=0, atol=1e-12)
    assert all(part.training for part in nets.norm_dropout(train=True).modules())


def test_nets_of_other_inputs_and_outputs() -> None:
    assert nets.grey()(nets.images(c=1)).shape == (2, nets.CLASSES)
    assert nets.four_channel()(nets.images(c=4)).shape == (2, nets.CLASSES)
    assert nets.two_inputs()(nets.images(), torch.ones(2, 4, dtype=torch.float64)).shape == (2, nets.CLASSES)
    assert nets.dict_output()(nets.images())["features"].shape == (2, 8, 12, 12)
    x = nets.images()
    nets.writes_input()(x)
    assert torch.equal(x, nets.images() - 0.5)
    assert not any(weight.requires_grad for weight in nets.frozen().parameters())
