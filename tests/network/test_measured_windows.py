"""Operations without a rule: what the probe finds, and that it leaves nothing behind."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.receptive_fields import ReceptiveField, receptive_boxes, receptive_field
from tests import nets
from tests.network.nan_probe import nan_boxes

KERNEL = torch.linspace(0.1, 0.3, 15, dtype=torch.float64).view(1, 1, 5, 3)
PIXEL = ReceptiveField((1, 1), (1, 1), (0, 0))


class OwnConvolution(torch.autograd.Function):
    """``factor * x + conv(other)`` at half the resolution, with arguments of every kind in between."""

    @staticmethod
    def forward(ctx, factor, x, text, other):
        ctx.factor, ctx.text = factor, text
        return factor * x[:, :, ::2, ::2] + F.conv2d(other, KERNEL, stride=2, padding=(2, 1))

    @staticmethod
    def backward(ctx, gradient):
        back = torch.zeros(1, 1, 12, 10, dtype=torch.float64)
        back[:, :, ::2, ::2] = ctx.factor * gradient
        wide = F.conv_transpose2d(gradient, KERNEL, stride=2, padding=(2, 1), output_padding=1)
        return None, back, None, wide


class OwnRectifier(torch.autograd.Function):
    """Two outputs, the second of which is used."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sum(), x.clamp(min=0)

    @staticmethod
    def backward(ctx, total, gradient):
        (x,) = ctx.saved_tensors
        return total.item() + gradient * (x > 0)


class OwnBorder(torch.autograd.Function):
    """Every row is itself, and the first one the second as well."""

    @staticmethod
    def forward(ctx, x):
        out = x.clone()
        out[:, :, 0] += x[:, :, 1]
        return out

    @staticmethod
    def backward(ctx, gradient):
        assert not torch.is_grad_enabled()  # nothing is recorded
        back = gradient.clone()
        back[:, :, 1] += gradient[:, :, 0]
        return back


class Refusing(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("no gradient here")


def picture(h: int = 12, w: int = 10) -> Tensor:
    return nets.images(1, 1, h, w).requires_grad_()


def test_each_input_of_a_custom_function_has_its_own_window():
    """Oracles: the NaN probe, and the geometry of the convolution inside."""
    image = picture()
    left = receptive_field(
        OwnConvolution.apply(2.0, image, "text", torch.zeros(1, 1, 12, 10, dtype=torch.float64)), image
    )
    assert left == ReceptiveField((1, 1), (2, 2), (0, 0))
    right = OwnConvolution.apply(2.0, torch.zeros(1, 1, 12, 10, dtype=torch.float64), "text", image)
    assert receptive_field(right, image) == ReceptiveField((5, 3), (2, 2), (-2, -1))
    expected = nan_boxes(lambda x: F.conv2d(x, KERNEL, stride=2, padding=(2, 1)), (1, 12, 10))
    assert np.array_equal(receptive_boxes(right, image), expected)


def test_dead_units_do_not_narrow_a_pointwise_operation():
    """Oracle: invariance. Rows and columns where the rectifier is off are no less seen."""
    image = picture().detach()
    image[:, :, 3:7], image[:, :, :, 0] = -1, -1
    rectified = OwnRectifier.apply(image.requires_grad_())[1]
    assert receptive_field(rectified, image) == PIXEL
    assert np.array_equal(receptive_boxes(rectified, image), receptive_boxes(image.relu(), image))


def test_one_row_that_reads_another_is_no_pointwise_operation():
    """Oracle: the NaN probe. Row 0 has no binary digit that is 1."""
    image = picture()
    boxes = receptive_boxes(OwnBorder.apply(image), image)
    assert np.array_equal(boxes, nan_boxes(OwnBorder.apply, (1, 12, 10)))


def test_one_unit_proves_nothing():
    """Oracle: the contract. On a map of one unit local and global look the same: not guessed."""
    image = picture(1, 1)
    assert receptive_field(OwnRectifier.apply(image)[1], image) is None
    assert receptive_field(image.relu(), image) == PIXEL


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_probe_takes_the_operations_dtype(dtype):
    image = nets.images(1, 4, dtype=dtype).requires_grad_()
    assert receptive_field(F.pixel_shuffle(image, 2), image) == ReceptiveField((1, 1), (0.5, 0.5), (0, 0))


def test_maps_of_any_size_are_measured_to_the_border():
    """Oracle: the NaN probe, for sizes around powers of two."""
    for side in (2, 3, 4, 5, 8, 9):
        image = nets.images(1, 4, side, side + 1).requires_grad_()
        shuffled = F.pixel_shuffle(image, 2)
        assert np.array_equal(
            receptive_boxes(shuffled, image), nan_boxes(lambda x: F.pixel_shuffle(x, 2), (4, side, side + 1))
        )


def test_the_probe_leaves_no_trace():
    """Oracle: the gradient of the same graph before and after, and an autouse check of the model."""
    net = nets.view_write()
    image = nets.images(1).requires_grad_()
    calls: list[str] = []
    hidden: list[Tensor] = []
    hook = net.conv2.register_forward_hook(lambda _module, inputs, _out: hidden.append(inputs[0]))
    scores = F.pixel_shuffle(OwnRectifier.apply(net(image).view(1, 5, 1, 1).expand(1, 5, 4, 4)[:, :4])[1], 2)
    hook.remove()
    (before,) = torch.autograd.grad(scores.sum(), image, retain_graph=True)
    for activation in (hidden[0], scores):
        handle = activation.grad_fn.register_hook(lambda *_: calls.append("node hook"))
        receptive_field(activation, image)
        receptive_boxes(activation, image)
        handle.remove()
    (after,) = torch.autograd.grad(scores.sum(), image)
    assert torch.equal(before, after)
    assert image.grad is None
    assert not calls


def test_a_view_that_is_written_is_seen_through():
    net, image = nets.view_write(), nets.images(1).requires_grad_()
    hidden: list[Tensor] = []
    hook = net.conv2.register_forward_hook(lambda _module, inputs, _out: hidden.append(inputs[0]))
    net(image)
    hook.remove()
    assert hidden[0].grad_fn.name().endswith("CopySlices")
    assert receptive_field(hidden[0], image) == ReceptiveField((3, 3), (1, 1), (-1, -1))


def test_what_may_not_be_called_is_refused_by_name():
    """Oracle: the contract; calling a reentrant checkpoint would write gradients."""
    net, image = nets.checkpointed(reentrant=True), nets.images(1).requires_grad_()
    with pytest.raises(ConvscopeError, match=r"cannot see into CheckpointFunctionBackward.*possible: the same network"):
        receptive_field(net(image), image)
    with pytest.raises(ConvscopeError, match="cannot measure the window of RefusingBackward: no gradient here"):
        receptive_field(Refusing.apply(image), image)


def test_a_checkpoint_in_the_graph_is_not_run_again():
    """Oracle: a count of forwards. Reading a saved weight would unpack it, and that recomputes the block."""
    net, image = nets.checkpointed(reentrant=False), nets.images(1).requires_grad_()
    runs: list[int] = []
    hook = net.conv2.register_forward_hook(lambda *_: runs.append(1))
    output = net(image)
    assert receptive_field(output, image) is None
    assert receptive_boxes(output, image).tolist() == [[[0, 0, 12, 12]]]
    hook.remove()
    assert len(runs) == 1
