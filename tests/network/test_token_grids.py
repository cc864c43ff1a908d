"""Tokens and channels-last outputs as maps. Oracle: the patch of the image that changes is the cell that does."""

import math

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.taps import tap
from convscope.network.token_grids import LEADING, as_maps, channel_axis, token_grids
from tests import nets
from tests.nets import token_nets
from tests.network.test_graph_names import empty


def _maps(net: nn.Module, x: Tensor, layer: str) -> Tensor:
    with evaluation(net), torch.no_grad(), tap(net, layer) as seen:
        net(x.clone())
    return as_maps(seen[layer], (x.shape[2], x.shape[3]), layer, batch=len(x))


def _changed(before: Tensor, after: Tensor) -> list[list[int]]:
    return (before != after).any(1)[0].nonzero().tolist()


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24), (32, 8)])
@pytest.mark.parametrize("leading", LEADING)
def test_one_patch_is_one_cell_of_a_vit(leading: int, height: int, width: int) -> None:
    """Every cell, square and oblong, after any number of leading tokens; the tokens themselves are not in the map."""
    net, x = token_nets.averaged_tokens(leading), nets.images(1, h=height, w=width)
    before = _maps(net, x, "patches")
    assert before.shape == (1, token_nets.WIDTH, height // 4, width // 4)
    for row in range(height // 4):
        for column in range(width // 4):
            other = x.clone()
            other[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
            assert _changed(before, _maps(net, other, "patches")) == [[row, column]]


@pytest.mark.parametrize(("height", "width"), [(16, 16), (16, 24)])
def test_one_patch_is_one_cell_of_channels_last(height: int, width: int) -> None:
    net, x = token_nets.channels_last(), nets.images(1, h=height, w=width)
    before = _maps(net, x, "norm")
    other = x.clone()
    other[:, :, 8:12, 4:8] += 1
    assert before.shape == (1, token_nets.WIDTH, height // 4, width // 4)
    assert _changed(before, _maps(net, other, "norm")) == [[2, 1]]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 96), (72, 72)])
def test_one_patch_is_one_cell_of_torchvisions_swin(height: int, width: int) -> None:
    """``features.0`` embeds 4 x 4 patches and puts the channels last."""
    net, x = empty("swin_t"), nets.images(1, h=height, w=width, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):  # `empty` has no weights worth the name
        net.features[0] = nn.Sequential(nn.Conv2d(3, 96, 4, 4), net.features[0][1], nn.LayerNorm(96))
    before = _maps(net, x, "features.0")
    other = x.clone()
    other[:, :, 20:24, 40:44] += 1
    assert before.shape == (1, 96, height // 4, width // 4)
    assert _changed(before, _maps(net, other, "features.0")) == [[5, 10]]


@pytest.mark.parametrize(
    ("shape", "size", "grid"),
    [
        ((1, 197, 192), (224, 224), (14, 14)),  # ViT, DeiT
        ((1, 198, 192), (224, 224), (14, 14)),  # distilled
        ((2, 196, 768), (224, 224), (14, 14)),  # SigLIP, Mixer
        ((1, 201, 384), (224, 224), (14, 14)),  # class and 4 registers
        ((1, 1374, 384), (518, 518), (37, 37)),  # DINOv2 with 4 registers
        ((1, 257, 1024), (224, 224), (16, 16)),  # 1024 is 32 x 32 too: the tokens come first
        ((1, 49, 768), (224, 224), (7, 7)),  # Hugging Face's Swin
        ((1, 3136, 96), (224, 224), (56, 56)),
        ((1, 1 + 14 * 28, 192), (224, 448), (14, 28)),
        ((1, 56, 56, 96), (224, 224), (56, 56)),
        ((1, 7, 7, 768), (224, 224), (7, 7)),
        ((1, 28, 56, 192), (224, 448), (28, 56)),
        ((1, 8, 10, 768), (225, 300), (8, 10)),  # merging rounds up
    ],
)
def test_grids_of_published_transformers(shape: tuple[int, ...], size: tuple[int, int], grid: tuple[int, int]) -> None:
    """Shapes as timm, torchvision and transformers give them. Oracle: reshaping by hand, and the gradient's path."""
    values = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape).requires_grad_()
    maps = as_maps(values, size, "layer")
    h, w = grid
    leading = shape[1] - h * w if len(shape) == 3 else 0
    by_hand = values[:, leading:].reshape(shape[0], h, w, shape[-1]).permute(0, 3, 1, 2)
    assert torch.equal(maps, by_hand)
    assert channel_axis(values, size, "layer") == len(shape) - 1
    (gradient,) = torch.autograd.grad(maps.sum(), values)
    assert gradient.sum() == maps.numel()
    if leading:
        assert not gradient[:, :leading].any()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 512, 7, 7), (224, 224)),
        ((1, 512, 1, 1), (224, 224)),
        ((1, 8, 8, 8), (32, 32)),
        ((1, 7, 7, 7), (14, 14)),
        ((1, 16, 24, 40), (32, 48)),  # 16 x 24 is the image halved; eight unpadded 3 x 3 convolutions more so
        ((1, 64, 5, 8), (80, 128)),
        ((1, 512, 7, 7), (224, 448)),  # VGG pools to a fixed size
        ((1, 3, 64, 64), (32, 32)),  # upsampled
        ((1, 768, 13, 10), (400, 300)),
    ],
)
def test_maps_stay_as_they_are(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    values = torch.zeros(shape)
    assert as_maps(values, size, "layer") is values
    assert channel_axis(values, size, "layer") == 1


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((2, 8), (16, 16), r"layer 'a\.b' gives \(2, 8\), not maps"),
        ((2, 3, 4, 5, 6), (16, 16), "not maps"),
        ((1, 200, 64), (230, 230), r"200 tokens, less 0, 1, 2, 4, 5, 8 or 9 leading ones, are no grid .* 230 x 230"),
        ((1, 17, 8), (12, 12), "its 17 tokens are 4 x 4 after 1 leading or 3 x 3 after 8 leading on an input of 12 x"),
        ((1, 768, 196), (224, 224), r"gives \(1, 768, 196\): channels before tokens"),
        ((1, 3, 197, 64), (224, 224), "tokens split between attention heads"),
        ((1, 1024, 1), (224, 224), "one number each"),
        ((1, 1, 768), (224, 224), "are no grid"),
    ],
)
def test_what_is_no_grid_is_refused_with_the_reason(
    shape: tuple[int, ...], size: tuple[int, int], message: str
) -> None:
    for function in (as_maps, channel_axis):
        with pytest.raises(ConvscopeError, match=message):
            function(torch.zeros(shape), size, "a.b")


def test_windows_in_the_batch_axis_are_refused_where_the_batch_is_known() -> None:
    """timm's Swin: 64 windows of 7 x 7 are no 64 images."""
    assert as_maps(torch.zeros(64, 49, 96), (224, 224), "attn").shape == (64, 96, 7, 7)
    with pytest.raises(ConvscopeError, match=r"gives \(64, 49, 96\) for 1 image\(s\): its first axis"):
        as_maps(torch.zeros(64, 49, 96), (224, 224), "attn", batch=1)


def test_every_square_patch_in_whole_pixels_is_tried() -> None:
    """Oracle: the definition, by trying every grid."""
    for size in ((24, 24), (12, 18), (7, 5)):
        for tokens in range(160):
            slow = {
                (tokens - h * w, h, w)
                for h in range(1, size[0] + 1)
                for w in range(1, size[1] + 1)
                if size[0] % h == 0 and size[1] % w == 0 and size[0] // h == size[1] // w
                if h * w > 1 and h * w > tokens - h * w
                if tokens - h * w in LEADING
            }
            assert set(token_grids(tokens, size)) == slow
