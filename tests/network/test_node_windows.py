"""Every kind of node, alone and in networks, against the NaN probe or the gradient's support (``nan_probe.py``)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.network.receptive_fields import ReceptiveField, receptive_boxes, receptive_field
from tests import nets
from tests.network.nan_probe import gradient_boxes, nan_boxes

# (size, stride, offset) on a large input, per axis where they differ; WHOLE: the whole input
Field = ReceptiveField
WHOLE = None
PIXEL = Field((1, 1), (1, 1), (0, 0))


def square(size, stride=1, offset=0) -> Field:
    return Field((size, size), (stride, stride), (offset, offset))


def filters(*shape: int) -> Tensor:
    return torch.linspace(0.1, 0.3, int(np.prod(shape)), dtype=torch.float64).view(shape)


ones = {n: torch.ones(n, dtype=torch.float64) for n in (4, 8)}
MIX = filters(4, 4)  # a linear layer over four channels


def attention(tokens: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(tokens, tokens, tokens)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def maps(t: Tensor, x: Tensor) -> Tensor:
    return t.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])


def written(x: Tensor, rows: slice, value: Callable[[Tensor], Tensor]) -> Tensor:
    out = x.clone()
    out[:, :, rows] = value(x[:, :, rows])
    return out


def by_rows(x: Tensor) -> Tensor:
    """Axial attention: every row is a sequence of its own, in the batch dimension."""
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(b * h, w, c)
    return (rows + attention(rows)).view(b, h, w, c).permute(0, 3, 1, 2)


def gated(x: Tensor) -> Tensor:
    """Squeeze and excitation."""
    return x * torch.sigmoid(F.conv2d(F.adaptive_avg_pool2d(x, 1), MIX[..., None, None]))


def position_gated(x: Tensor) -> Tensor:
    """Spatial attention of CBAM: means and maxima over channels."""
    both = torch.stack([x.mean(1), x.amax(1), x.max(1)[0], torch.linalg.vector_norm(x, dim=1)], 1)
    return x * F.conv2d(both, filters(1, 4, 3, 3), padding=1).sigmoid()


def u_net(x: Tensor) -> Tensor:
    below = F.conv2d(F.max_pool2d(x, 2), filters(4, 4, 3, 3), padding=1)
    return torch.cat([x, F.interpolate(below, scale_factor=2)], 1)


def dynamic(x: Tensor) -> Tensor:
    ones = torch.ones(1, 1, 5, 5, dtype=x.dtype)
    return torch.cat([F.conv2d(ones, one[:1, None, 4:7, 3:5]) for one in x])


def zoomed(x: Tensor) -> Tensor:
    grid = F.affine_grid(0.83 * torch.eye(2, 3, dtype=x.dtype)[None], list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


BY_NAN = {
    # convolutions
    "grouped": (lambda x: F.conv2d(x, filters(4, 1, 3, 2), groups=4), Field((3, 2), (1, 1), (0, 0))),
    "same": (lambda x: F.conv2d(x, filters(4, 4, 5, 3), padding="same"), Field((5, 3), (1, 1), (-2, -1))),
    "circular": (lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), filters(4, 4, 3, 3)), square(3, 1, -1)),
    "transposed": (lambda x: F.conv_transpose2d(x, filters(4, 4, 3, 3), None, 2, 1, 1), square(2, 0.5)),
    "transposed, dilated": (
        lambda x: F.conv_transpose2d(x, filters(4, 4, 3, 3), None, 2, 1, 0, 1, 3),
        square(4, 0.5, -1),
    ),
    "transposed, gaps": (lambda x: F.conv_transpose2d(x, filters(4, 4, 2, 2), None, 3), square(1, 1 / 3)),
    "up and down": (
        lambda x: F.conv2d(F.conv_transpose2d(x, filters(4, 4, 4, 4), None, 2, 1), filters(4, 4, 3, 3), None, 2, 1),
        square(3, 1, -1),
    ),
    # pooling and resizing
    "max 3x3/2, ceil": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True), square(3, 2)),
    "max, dilated": (lambda x: F.max_pool2d(x, 2, 1, 1, 2), square(3, 1, -1)),
    "mean 3x3/2, ceil": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), square(3, 2, -1)),
    "p-norm": (lambda x: F.lp_pool2d(x, 2, 3, 2), square(3, 2)),
    "adaptive to 1": (lambda x: x + F.adaptive_avg_pool2d(x, 1), WHOLE),
    "adaptive max to 1": (lambda x: x + F.adaptive_max_pool2d(x, 1), WHOLE),
    "adaptive max to 1, alone": (lambda x: F.adaptive_max_pool2d(x, 1), WHOLE),
    "adaptive, same": (lambda x: F.adaptive_avg_pool2d(x, (12, 10)), PIXEL),
    "adaptive, halves": (lambda x: F.adaptive_avg_pool2d(x, (6, 5)), square(2, 2)),
    "adaptive, uneven": (lambda x: F.adaptive_max_pool2d(x, (8, 4)), Field((2, 3), (1.5, 2.5), (0, 0))),
    "adaptive, larger": (lambda x: F.adaptive_avg_pool2d(x, (24, 20)), square(1, 0.5)),
    "nearest x2": (lambda x: F.interpolate(x, scale_factor=2), square(1, 0.5)),
    "nearest x3/2, measured": (lambda x: F.interpolate(x, scale_factor=1.5), Field((1, 1), (2 / 3, 2 / 3), (0, 0))),
    "nearest-exact x2": (lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"), square(1, 0.5)),
    "bilinear / 2": (lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), square(2, 2)),
    "pixel shuffle, measured": (lambda x: F.pixel_shuffle(x, 2), square(1, 0.5)),
    "pixel unshuffle, measured": (lambda x: F.pixel_unshuffle(x, 2), square(2, 2)),
    "U-Net": (
        lambda x: torch.cat(
            [x, F.interpolate(F.conv2d(F.max_pool2d(x, 2), filters(4, 4, 3, 3), padding=1), scale_factor=2)], 1
        ),
        square(6, 1, -2),
    ),
    "U-Net, transposed": (
        lambda x: x + F.conv_transpose2d(F.max_pool2d(x, 2), filters(4, 4, 3, 3), None, 2, 1, 1),
        square(4),
    ),
    "branches that drift apart": (lambda x: x[:, :, :6, :5] + x[:, :, ::2, ::2], WHOLE),
    "filters made of the image": (dynamic, WHOLE),
    "rows as channels": (lambda x: F.conv2d(x.transpose(1, 2), filters(2, 12, 1, 3)), WHOLE),
    # cut and joined
    "split channels": (lambda x: x.split([1, 3], 1)[1] + x.chunk(4, 1)[0], PIXEL),
    "split rows": (lambda x: x.split(5, 2)[1] + x.tensor_split((1, 6), 2)[1], Field((5, 1), (1, 1), (1, 0))),
    "select, unbind, stack": (lambda x: torch.stack([x[:, 1], *x.unbind(1)[2:]], 1), PIXEL),
    "one row for all": (lambda x: x + x[:, :, 3:4], WHOLE),
    "one row, selected": (lambda x: x + x[:, :, -2].unsqueeze(2), WHOLE),
    "rows joined": (lambda x: torch.cat([x[:, :, 4:], x[:, :, :4]], 2), WHOLE),
    "border joined": (lambda x: torch.cat([x[:, :, -1:], x, x[:, :, :1]], 2), Field((1, 1), (1, 1), (-1, 0))),
    "repeated channels": (lambda x: x.repeat(1, 2, 1, 1), PIXEL),
    "tiled": (lambda x: x.repeat(1, 1, 2, 2), WHOLE),
    "rolled": (lambda x: x.roll((1, 2), (2, 3)), Field((1, 1), (1, 1), (-1, -2))),
    "flipped": (lambda x: x + x.flip(2), WHOLE),
    "mirrored border": (
        lambda x: F.pad(x, (3, 2, 1, 0), mode="reflect"),
        Field((1, 1), (1, 1), (-1, -3)),
    ),
    # dimensions that move
    "channel shuffle": (lambda x: x.view(-1, 2, 2, *x.shape[2:]).transpose(1, 2).reshape(x.shape), PIXEL),
    "channels last, linear": (lambda x: (x.permute(0, 2, 3, 1) @ MIX).permute(0, 3, 1, 2), PIXEL),
    "channels last, linear with bias": (lambda x: F.linear(x.movedim(1, -1), MIX, ones[4]).movedim(-1, 1), PIXEL),
    "channels last, layer norm": (lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)).permute(0, 3, 1, 2), PIXEL),
    "transposed map": (lambda x: F.conv2d(x.mT, filters(4, 4, 5, 3)).mT, Field((3, 5), (1, 1), (0, 0))),
    "tokens, linear": (lambda x: maps(F.linear(tokens(x), MIX, ones[4]).relu(), x), PIXEL),
    "channels by einsum": (lambda x: torch.einsum("bchw,cd->bdhw", x, MIX), PIXEL),
    "channels gathered": (lambda x: x[:, [2, 0]], PIXEL),
    # statistics and attention
    "batch norm, evaluation": (lambda x: F.batch_norm(x, ones[4], ones[4]), PIXEL),
    "group norm": (lambda x: F.group_norm(x, 2), WHOLE),
    "instance norm": (lambda x: F.instance_norm(x), WHOLE),
    "layer norm of maps": (lambda x: F.layer_norm(x, x.shape[1:]), WHOLE),
    "layer norm of rows": (lambda x: F.layer_norm(x, x.shape[3:]), WHOLE),
    "channels last, mean": (
        lambda x: (x.movedim(1, -1) * x.movedim(1, -1).mean(-1, keepdim=True)).movedim(-1, 1),
        PIXEL,
    ),
    "local response": (lambda x: F.local_response_norm(x, 3), PIXEL),
    "normalised channels": (lambda x: F.normalize(x, dim=1), PIXEL),
    "softmax of channels": (lambda x: x.softmax(1) + x.log_softmax(1), PIXEL),
    "softmax of rows": (lambda x: x.softmax(2), WHOLE),
    "summed up along rows": (lambda x: x.cumsum(2), WHOLE),
    "mean of a column": (lambda x: x + x.mean(2, keepdim=True), WHOLE),
    "squeeze and excitation": (gated, WHOLE),
    "spatial attention": (position_gated, square(3, 1, -1)),
    "attention": (lambda x: maps(attention(tokens(x)), x), WHOLE),
    "attention within rows": (by_rows, WHOLE),
    "logits": (lambda x: x.flatten(1).sum(1)[:, None, None, None], WHOLE),
    "unfolded": (lambda x: F.unfold(x, 3).mean(2)[:, :, None, None], WHOLE),
    # written in place
    "border rectified": (lambda x: written(x, slice(0, 2), lambda rows: rows.relu()), PIXEL),
    "inside rectified": (lambda x: written(x, slice(2, -2), lambda rows: rows.relu()), PIXEL),
    "inside from elsewhere": (
        lambda x: written(x, slice(2, -2), lambda rows: rows.flip(1) + x[:, :, :-4]),
        Field((3, 1), (1, 1), (-2, 0)),
    ),
    "inside shifted": (lambda x: written(x, slice(2, -2), lambda _: x[:, :, :-4]), Field((1, 1), (1, 1), (-2, 0))),
    "part zeroed": (lambda x: written(x, slice(0, 6), torch.zeros_like), PIXEL),
    "border zeroed": (lambda x: written(x, slice(0, 2), torch.zeros_like), PIXEL),
    "border from elsewhere": (lambda x: written(x, slice(0, 2), lambda rows: 2 * x[:, :, -2:]), PIXEL),
    "part from elsewhere": (lambda x: written(x, slice(0, 6), lambda rows: x[:, :, 6:]), WHOLE),
    "glu and friends": (lambda x: F.glu(torch.cat([x, x], 1), 1) + F.gelu(x) + x**2 + F.silu(x).clamp(min=0), PIXEL),
}


@pytest.mark.parametrize("name", BY_NAN)
def test_nodes_equal_the_nan_probe(name):
    function, expected = BY_NAN[name]
    image = torch.rand(1, 4, 12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    activation = function(image)
    assert np.array_equal(receptive_boxes(activation, image), nan_boxes(function, (4, 12, 10)))
    assert receptive_field(activation, image) == expected


BY_GRADIENT = {
    "bilinear x2": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), square(2, 0.5, -1)),
    "bicubic x2": (lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"), square(4, 0.5, -2)),
    "bilinear x3": (lambda x: F.interpolate(x, scale_factor=3, mode="bilinear"), square(2, 1 / 3, -1)),
    "bicubic x3": (lambda x: F.interpolate(x, scale_factor=3, mode="bicubic"), square(4, 1 / 3, -2)),
    "bilinear x3/2": (lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"), square(2, 2 / 3, -1)),
    "bilinear to a size": (
        lambda x: F.interpolate(x, (9, 30), mode="bilinear"),
        Field((2, 2), (4 / 3, 1 / 3), (0, -1)),
    ),
    "bilinear, aligned corners": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        square(2, 0.5, -1),
    ),
    "bicubic, aligned corners": (
        lambda x: F.interpolate(x, (30, 30), mode="bicubic", align_corners=True),
        Field((4, 4), (0.4, 1 / 3), (-2, -2)),
    ),
    "bilinear x1.7, aligned corners": (
        lambda x: F.interpolate(x, scale_factor=1.7, mode="bilinear", align_corners=True),
        Field((2, 2), (10 / 17, 10 / 17), (-1, -1)),
    ),
    "bilinear / 2, antialiased, measured": (
        lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
        square(4, 2, -1),
    ),
    "batch norm, training": (lambda x: F.batch_norm(x, None, None, training=True), WHOLE),
    "zoomed, measured": (zoomed, WHOLE),
}


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_nodes_equal_the_support_of_the_gradient(name):
    function, expected = BY_GRADIENT[name]
    image = torch.rand(1, 4, 12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    activation = function(image)
    assert np.array_equal(receptive_boxes(activation, image), gradient_boxes(function, (4, 12, 10)))
    assert receptive_field(activation, image) == expected


BEYOND = {  # where positions cannot be followed: every box is a cover
    "windows of attention": (
        lambda x: x.unflatten(2, (3, 4)).unflatten(4, (2, 5)).softmax(3).flatten(4).flatten(2, 3),
        WHOLE,
    ),
    "turned": (lambda x: x.mT[:, :, :10, :10] + x[:, :, :10], WHOLE),
}


@pytest.mark.parametrize("name", BEYOND)
def test_what_cannot_be_followed_is_covered(name):
    function, expected = BEYOND[name]
    image = torch.rand(1, 4, 12, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    activation = function(image)
    found, true = receptive_boxes(activation, image), nan_boxes(function, (4, 12, 10))
    assert found.shape == true.shape
    assert (found[..., :2] <= true[..., :2]).all()
    assert (found[..., 2:] >= true[..., 2:]).all()
    assert receptive_field(activation, image) == expected


def test_tokens_have_no_neighbours_to_convolve():
    """Oracle: the definition. The end of one row and the start of the next are neighbours, so the axes mix."""
    image = nets.images(1, 4, 12, 10).requires_grad_()
    convolved = F.conv1d(image.flatten(2), filters(4, 4, 3), padding=1)
    assert receptive_field(convolved, image) is None
    assert receptive_boxes(convolved, image).tolist() == [[[0, 0, 12, 10]]]
