"""The default layer of transformers. Oracles: the layers by hand; gradients of one cell after the other."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import cam, grad_cam
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import default_layer
from convscope.network.taps import tap
from convscope.network.token_layers import last_token_layer
from tests import nets
from tests.nets import token_nets
from tests.network.test_graph_names import empty
from tests.untouched import watch


@pytest.mark.parametrize(
    ("factory", "layer"),
    [
        (token_nets.class_token, "blocks.1.norm1"),
        (lambda: token_nets.class_token(5), "blocks.1.norm1"),
        (lambda: token_nets.class_token(0), "blocks.1.norm1"),  # the answer reads one patch: there the others are mute
        (token_nets.averaged_tokens, "norm"),
        (lambda: token_nets.averaged_tokens(1), "norm"),
        (token_nets.untrained_head, "blocks.1.norm1"),
        (token_nets.channels_last, "norm"),
    ],
)
def test_the_last_layer_whose_patches_reach_the_answer(factory: Callable[..., nn.Module], layer: str) -> None:
    """A head of zeros hides no path."""
    assert default_layer(factory(), nets.images(2, h=16, w=24)) == layer


def test_what_comes_after_it_has_no_gradient_at_the_patches() -> None:
    """Oracle: autograd at each layer of the last block; Grad-CAM there is zero, here it is not."""
    net, x = token_nets.class_token(), nets.images(1, h=16, w=16)
    layers = ["blocks.1.norm1", "blocks.1.norm2", "blocks.1", "norm"]
    with evaluation(net), tap(net, *layers) as seen:
        score = net(x.clone().requires_grad_())[0, 0]
        grads = torch.autograd.grad(score, [seen[name] for name in layers])
    assert [bool(g[:, 1:].any()) for g in grads] == [True, False, False, False]
    assert not grad_cam(net, x, target=0, layer="norm", relu=False).any()
    assert grad_cam(net, x, target=0, relu=False).all()


def test_torchvisions_vit() -> None:
    name = "encoder.layers.encoder_layer_11.ln_1"
    assert default_layer(empty("vit_b_16"), torch.zeros(1, 3, 224, 224)) == name


@pytest.mark.parametrize("factory", [token_nets.averaged_tokens, token_nets.class_token, token_nets.channels_last])
@pytest.mark.parametrize("size", [(16, 16), (16, 24)])
def test_grad_cam_is_what_reshaping_by_hand_gives(factory: Callable[..., nn.Module], size: tuple[int, int]) -> None:
    """Oracle: sum_k mean(g_k) A_k on tokens reshaped to (b, h, w, c) here."""
    net, x = factory(), nets.images(2, h=size[0], w=size[1])
    layer = default_layer(net, x)
    with evaluation(net), tap(net, layer) as seen:
        score = net(x.clone().requires_grad_())[:, 3].sum()
        (g,) = torch.autograd.grad(score, seen[layer])
    h, w = size[0] // 4, size[1] // 4

    def grid(values: Tensor) -> Tensor:
        tokens = values if values.ndim == 4 else values[:, values.shape[1] - h * w :]
        return tokens.detach().reshape(2, h, w, token_nets.WIDTH)

    by_hand = (grid(g).mean((1, 2))[:, None, None] * grid(seen[layer])).sum(-1)
    found = grad_cam(net, x, target=3, relu=False)
    assert found.shape == (2, h, w)
    assert torch.allclose(found, by_hand, rtol=0, atol=1e-14)
    assert found.any()


@pytest.mark.parametrize("factory", [token_nets.averaged_tokens, token_nets.channels_last])
def test_cam_of_averaged_tokens_is_the_logit(factory: Callable[..., nn.Module]) -> None:
    """Oracle: mean(CAM) + bias = logit."""
    net, x = factory(), nets.images(2, h=16, w=24)
    bias = list(net.parameters())[-1].detach()
    assert torch.allclose(cam(net, x, target=2).mean((1, 2)) + bias[2], net(x)[:, 2], rtol=0, atol=1e-13)


def test_frozen_weights_several_inputs_and_no_grad() -> None:
    net, x = token_nets.class_token(), nets.images(1, h=16, w=16)
    watch(net.requires_grad_(False))
    with torch.no_grad():
        assert last_token_layer(net, x) == "blocks.1.norm1"
        assert last_token_layer(net, (x,)) == "blocks.1.norm1"
        assert last_token_layer(net, {"input": x}) == "blocks.1.norm1"


def test_tokens_that_are_no_grid_are_refused() -> None:
    """18 x 18 pixels are no whole patches of 4: the projection drops two pixels of them."""
    with pytest.raises(ConvscopeError, match="works on tokens, and no layer's grid of patches reaches its logits"):
        last_token_layer(token_nets.averaged_tokens(), nets.images(1, h=18, w=18))
    with pytest.raises(ConvscopeError, match="none of the network's inputs is an image"):
        last_token_layer(token_nets.averaged_tokens(), nets.images(1, h=18, w=18)[0])
