"""Reading filters. Oracles: the module's own weight; what the layer computes on one pixel; norms written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from convscope.errors import ConvscopeError
from convscope.network.filters import filter_layers, filters_of, units_first
from tests import nets
from tests.nets.building import hard_net
from tests.nets.gates import weight_normed
from tests.untouched import watch


@hard_net
def odd_ones() -> nn.Module:
    """A grouped and a depthwise convolution, transposed ones, and layers whose weights are no filters."""
    layers: dict[str, nn.Module] = {
        "stage": nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.BatchNorm2d(6)),
        "depthwise": nn.Conv2d(6, 6, (1, 3), groups=6),
        "up": nn.ConvTranspose2d(6, 4, 2),
        "grouped_up": nn.ConvTranspose2d(4, 6, 3, groups=2),
        "embedding": nn.Embedding(3, 4),
        "linear": nn.Linear(4, 2),
        "line": nn.Conv1d(3, 4, 3),
    }
    return nn.ModuleDict(layers)


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("factory", [nets.plain, nets.grey, nets.four_channel, nets.frozen, nets.shared_conv])
def test_the_filters_are_the_layers_weight(factory, layer: str) -> None:
    net = factory()
    if layer not in dict(net.named_modules()):
        layer = filter_layers(net)[0]
    found = filters_of(net, layer)
    assert torch.equal(found.weights, net.get_submodule(layer).weight)
    assert (found.layer, found.type, found.groups) == (layer, "Conv2d", 1)
    found.weights.zero_()  # a copy: whoever has it cannot change the network
    assert bool(net.get_submodule(layer).weight.any())


def test_none_is_the_first_layer_that_has_filters() -> None:
    net = nets.plain()
    assert filter_layers(net) == ["conv1", "conv2"]
    assert filters_of(net).layer == "conv1"
    assert torch.equal(filters_of(net).weights, net.conv1.weight)


def test_half_precision_is_raised_and_double_stays() -> None:
    assert filters_of(nets.plain(dtype=torch.float64)).weights.dtype == torch.float64
    half = nets.plain(dtype=torch.bfloat16)
    assert torch.equal(filters_of(half).weights, half.conv1.weight.float())


def test_groups_are_said_and_layers_without_filters_are_not_listed() -> None:
    net = odd_ones()
    assert filter_layers(net) == ["stage.0", "depthwise", "up", "grouped_up"]
    grouped, depthwise = filters_of(net, "stage.0"), filters_of(net, "depthwise")
    assert (tuple(grouped.weights.shape), grouped.groups, grouped.inputs) == ((6, 2, 3, 3), 2, 4)
    assert (tuple(depthwise.weights.shape), depthwise.groups, depthwise.inputs) == ((6, 1, 1, 3), 6, 6)


@pytest.mark.parametrize(("layer", "inputs"), [("up", 6), ("grouped_up", 4)])
def test_a_transposed_convolution_has_units_first(layer: str, inputs: int) -> None:
    """Unit u, input c: what one value in channel c paints onto the output's channel u."""
    net = odd_ones()
    module = net[layer]
    found = filters_of(net, layer)
    of_group = inputs // found.groups
    for c in range(inputs):
        x = torch.zeros(1, inputs, 1, 1, dtype=torch.float64)
        x[0, c] = 1
        painted = (module(x) - module.bias[:, None, None])[0]
        for u in range(len(found.weights)):
            sees = u // (len(found.weights) // found.groups) == c // of_group
            expected = found.weights[u, c % of_group] if sees else torch.zeros_like(painted[u])
            torch.testing.assert_close(painted[u], expected)


def test_units_first_by_hand() -> None:
    """Two groups of two inputs and one unit: the units' rows are the groups' columns."""
    weight = torch.tensor([[10.0], [11.0], [20.0], [21.0]])[..., None, None]
    assert units_first(weight, 2)[..., 0, 0].tolist() == [[10.0, 11.0], [20.0, 21.0]]


def test_a_parametrised_weight_is_the_one_that_is_applied() -> None:
    """Of weight norm g v / |v|; of one that is made positive its exponential."""
    net = weight_normed()
    g, v = (p.detach() for p in net.conv1.parametrizations.weight.parameters())
    norm = v.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(filters_of(net, "conv1").weights, g * v / norm)
    assert torch.equal(filters_of(net, "conv2").weights, net.conv2.weight)
    assert bool((filters_of(net, "conv2").weights >= 1).all())


def test_a_spectral_norm_is_read_without_an_iteration_and_in_training_mode() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = watch(nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))).train())
    before = {name: b.clone() for name, b in net.named_buffers()}
    first, second = filters_of(net).weights, filters_of(net).weights
    assert torch.equal(first, second)
    assert all(torch.equal(b, before[name]) for name, b in net.named_buffers())
    assert net.training


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_the_old_norms_which_a_pass_sets_are_read_as_the_next_pass_would_have_them() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), nn.utils.spectral_norm(nn.Conv2d(4, 4, 3))).eval()
        x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        net[0].weight_g *= 3  # trained on since the last pass: .weight is stale
        found = filters_of(net, "0").weights
        spectral = filters_of(net, "1").weights
        out = net(x)
        assert torch.equal(found, net[0].weight)
        torch.testing.assert_close(F.conv2d(F.conv2d(x, found, net[0].bias), spectral, net[1].bias), out)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("stage", r"'stage' \(Sequential\) has no filters; inside it 'stage.0' have some"),
        ("linear", r"'linear' \(Linear\) has no filters, its weight is 2 x 4; layers with filters are stage.0, depth"),
        ("stage.1", r"'stage.1' \(BatchNorm2d\) has no filters, its weight is 6; did you mean 'stage.0'"),
        ("stag", "no layer 'stag' in ModuleDict; did you mean 'stage'"),
    ],
)
def test_what_has_no_filters_is_refused_with_what_has(layer: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        filters_of(odd_ones(), layer)


def test_a_network_without_filters_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="has no layer with filters"):
        filters_of(nn.Sequential(nn.LazyConv2d(2, 3)))  # before its first pass it has no shape
    with pytest.raises(ConvscopeError, match="has no layer with filters"):
        filters_of(nets.mlp())
