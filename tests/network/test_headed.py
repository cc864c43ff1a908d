"""A head on a frozen base. Oracles: the layer's output caught by a plain hook, and the head's sums written out."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import cam, grad_cam
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.head import default_layer
from convscope.network.headed import HEADS, HeadedNet, head_of, put_head
from tests import nets
from tests.nets import heads
from tests.untouched import watch

CLASSES = 4


def headed(base: nn.Module, layer: str, kind: str = "mean", **options) -> HeadedNet:
    return watch(put_head(base, layer, kind, CLASSES, nets.images(), **options))


def caught(base: nn.Module, layer: str, x: Tensor) -> Tensor:
    """What a call of a module gave, at once, before anything could write into it."""
    path, _, number = layer.partition("#")
    found: list[Tensor] = []
    handle = base.get_submodule(path).register_forward_hook(lambda *given: found.append(given[-1].detach().clone()))
    with evaluation(base):
        base(x.clone())
    handle.remove()
    return found[int(number or 1) - 1]


def by_hand(net: HeadedNet, kind: str, maps: Tensor) -> Tensor:
    """The head's equation, with its weights."""
    w = {name: p.detach() for name, p in net.head.named_parameters()}
    if kind == "mean":
        rows = nn.functional.adaptive_avg_pool2d(maps, 1)[:, :, 0, 0]
    else:
        rows = nn.functional.adaptive_avg_pool2d(maps, tuple(min(6, n) for n in maps.shape[2:])).reshape(len(maps), -1)
    if kind == "mlp":
        rows = nn.functional.linear(rows, w["hidden.weight"], w["hidden.bias"]).clamp(min=0)
    return nn.functional.linear(rows, w["linear.weight"], w["linear.bias"])


LAYERS = [
    (nets.plain, "conv1"),
    (nets.inplace_relu, "conv2"),  # a ReLU then writes into it
    (nets.inplace_relu, "relu2"),
    (nets.functional_inplace_relu, "conv1"),
    (nets.reused_inplace_relu, "rectify#2"),
    (nets.reused_relu, "rectify#1"),
    (nets.residual, "conv2"),  # the shortcut is added to it in place
    (nets.residual, "norm"),
    (nets.norm_dropout, "relu1"),
    (nets.view_write, "conv1"),  # half of it is rectified in place
    (partial(nets.checkpointed, False), "conv2"),
    (heads.backbone, "stage2"),
    (nets.plain, "linear1"),  # one number a unit, no maps
]


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(("factory", "layer"), LAYERS)
def test_logits_are_the_head_of_what_the_layer_itself_gave(
    factory: Callable[[], nn.Module], layer: str, kind: str
) -> None:
    """Oracle: a plain hook's clone and the equations of the heads; equal to the last bit."""
    base, x = factory(), nets.images(3, seed=1)
    net = headed(base, layer, kind)
    maps = caught(base, layer, x)
    maps = maps[:, :, None, None] if maps.ndim == 2 else maps
    assert torch.equal(net.features(x), maps)
    assert torch.equal(net(x), by_hand(net, kind, maps))


@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu, nets.residual])
def test_cam_and_grad_cam_of_the_mean_head_are_its_closed_form(factory: Callable[[], nn.Module]) -> None:
    """Oracle: L_c = sum_k W_ck A_k, whose mean + b is the logit; alpha_k = W_ck / n (Zhou 2016, Selvaraju 2017)."""
    base, x = factory(), nets.images(3, seed=1)
    layer = "conv2"
    net, maps = headed(base, layer), caught(base, layer, x)
    weights, bias = (p.detach() for p in net.head.get_submodule("linear").parameters())
    expected = torch.einsum("k,bkyx->byx", weights[2], maps)
    got = cam(net, x, target=2, layer=f"base.{layer}")
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got.mean((1, 2)) + bias[2], net(x)[:, 2])
    count = maps.shape[2] * maps.shape[3]
    torch.testing.assert_close(grad_cam(net, x, target=2, layer=f"base.{layer}"), expected.clamp(min=0) / count)


def test_the_layer_is_the_default_one_of_what_is_explained() -> None:
    """Oracle: by hand: the last map before the new head."""
    assert default_layer(headed(nets.residual(), "conv1"), nets.images()) == "base.conv1"
    assert default_layer(headed(nets.reused_relu(), "rectify#2"), nets.images()) == "base.rectify#2"


def test_what_never_runs_is_left_out_and_the_base_stays_whole() -> None:
    """Oracle: by hand; the autouse fixture compares the base that was given."""
    base = nets.plain()
    net = headed(base, "conv2")
    assert net.left_out == ("linear1", "linear2")
    assert {name.split(".")[1] for name in net.state_dict() if name.startswith("base.")} == {"conv1", "conv2"}
    assert all(p.data_ptr() != q.data_ptr() for p in net.parameters() for q in base.parameters())


class _UsesWithoutCalling(nn.Module):
    """Its second layer's weights work in the first's place: no hook sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(nn.functional.conv2d(x, self.conv2.weight))).mean((2, 3))


def test_weights_used_without_a_call_are_kept() -> None:
    """Oracle: a plain hook. Leaving the module out would fail, or change the features."""
    with torch.random.fork_rng(devices=[]):
        base = watch(_UsesWithoutCalling().double().eval())
    net, x = headed(base, "conv1"), nets.images(seed=1)
    assert net.left_out == ()
    assert torch.equal(net.features(x), caught(base, "conv1", x))


def test_parts_of_what_ran_to_its_end_are_kept() -> None:
    """Oracle: attention's output layer is used by its weights, never called; later blocks are left out all the same."""
    with torch.random.fork_rng(devices=[]):
        blocks = [nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(3)]
        base = watch(_Tokens(blocks).double().eval())
    net = headed(base, "blocks.1")
    assert net.left_out == ("blocks.2",)
    assert net.features(nets.images()).shape == (2, 8, 3, 3)


class _Tokens(nn.Module):
    def __init__(self, blocks: list[nn.TransformerEncoderLayer]) -> None:
        super().__init__()
        self.patches, self.blocks = nn.Conv2d(3, 8, 4, stride=4), nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        for block in self.blocks:
            h = block(h)
        return h.mean(1)


def test_training_the_head_leaves_the_base_alone() -> None:
    """Oracle: the base's weights and statistics before, to the last bit; no gradient kept; only the head changed."""
    net = put_head(nets.norm_dropout(), "relu1", "mlp", CLASSES, nets.images())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    on = net.on_features().train()
    net.train()
    assert net.head.training
    assert not any(part.training for part in net.base.modules())
    optimiser = torch.optim.SGD([p for p in on.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        x = torch.randn(4, 3, 12, 12, generator=generator, dtype=torch.float64)
        with torch.random.fork_rng(devices=[]):
            net(x).square().sum().backward()
        optimiser.step()
    after = net.state_dict()
    assert all(torch.equal(before[name], after[name]) == name.startswith("base.") for name in before)
    assert all(p.grad is None and not p.requires_grad for p in net.base.parameters())


def test_pooled_features_are_as_good_as_features() -> None:
    """Oracle: the whole network; and one state dict for both."""
    for kind in HEADS:
        net, x = headed(nets.plain(), "conv2", kind), nets.images(3, seed=1)
        pooled = net.head.get_submodule("pool")(net.features(x))
        on = net.on_features().eval()
        assert torch.equal(on(pooled), net(x))
        assert [(n, t.data_ptr()) for n, t in on.state_dict().items()] == [
            (n, t.data_ptr()) for n, t in net.state_dict().items()
        ]


def test_first_weights_come_from_the_seed_alone() -> None:
    """Oracle: equal for one seed, other for another; the autouse fixture sees that no global number was drawn."""
    one, again, other = (head_of("mlp", (8, 3, 3), 4, seed) for seed in (0, 0, 1))
    assert torch.equal(one.get_submodule("linear").weight, again.get_submodule("linear").weight)
    assert not torch.equal(one.get_submodule("linear").weight, other.get_submodule("linear").weight)


class _SizedClasses(nn.Module):
    """Its own classifier takes one input size; what lies below any."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).flatten(1))


def test_the_old_classifier_may_fail() -> None:
    """Oracle: a plain hook would raise; the features do not need it."""
    with torch.random.fork_rng(devices=[]):
        base = watch(_SizedClasses().double().eval())
    assert headed(base, "conv").left_out == ("linear",)


def test_refusals() -> None:
    """Oracle: the words: what was given, what there is."""
    x = nets.images()
    with pytest.raises(ConvscopeError, match=r"'rectify' is no one call of a pass; there are rectify#1, rectify#2"):
        put_head(nets.reused_relu(), "rectify", "mean", 2, x)
    with pytest.raises(ConvscopeError, match=r"no layer 'conv3' in Sequential.*did you mean 'conv"):
        put_head(nets.plain(), "conv3", "mean", 2, x)
    with pytest.raises(ConvscopeError, match=r"no head 'meen'; did you mean 'mean'.*there are mean, flat, mlp"):
        put_head(nets.plain(), "conv2", "meen", 2, x)
    with pytest.raises(ConvscopeError, match="two at least, not 1"):
        put_head(nets.plain(), "conv2", "mean", 1, x)
    with pytest.raises(ConvscopeError, match="never ran"):
        put_head(nets.unused_layer(), "auxiliary", "mean", 2, x)
