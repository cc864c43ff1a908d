"""The table of layers: closed forms for shapes, parameters, multiply-adds; published totals for torchvision's nets."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.network.layers import named_layers
from convscope.network.listing import LayerFacts, Listing, describe_layers, example_input
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.network.receptive_fields import receptive_field
from tests import nets
from tests.nets import hard_net


def by_name(found: Listing) -> dict[str, LayerFacts]:
    names = [layer.name for layer in found.layers]
    assert len(set(names)) == len(names)
    return dict(zip(names, found.layers, strict=True))


@hard_net
def convolutions() -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            plain=nn.Conv2d(3, 8, 3, padding=1),
            strided=nn.Conv2d(8, 6, (3, 5), stride=(2, 1), bias=False),
            grouped=nn.Conv2d(6, 12, 3, groups=3),
            depthwise=nn.Conv2d(12, 12, 1, groups=12),
            up=nn.ConvTranspose2d(12, 4, 2, stride=2),
            norm=nn.BatchNorm2d(4),
            flatten=nn.Flatten(),
            linear=nn.Linear(4 * 6 * 12, 7),
        )
    )


def test_multiply_adds_of_convolutions_are_outputs_times_weights_each() -> None:
    """Closed form: h w c_out c_in/groups k_y k_x; of a transposed one the input's h w."""
    found = describe_layers(convolutions(), nets.images(1))
    expected = {
        "plain": (8, 12, 12, 8 * 3 * 9 + 8, 12 * 12 * 8 * 3 * 9),
        "strided": (6, 5, 8, 6 * 8 * 15, 5 * 8 * 6 * 8 * 15),
        "grouped": (12, 3, 6, 12 * 2 * 9 + 12, 3 * 6 * 12 * 2 * 9),
        "depthwise": (12, 3, 6, 12 + 12, 3 * 6 * 12),
        "up": (4, 6, 12, 12 * 4 * 4 + 4, 3 * 6 * 12 * 4 * 4),
        "norm": (4, 6, 12, 8, 0),
        "flatten": (288, 0, 0),
        "linear": (7, 288 * 7 + 7, 288 * 7),
    }
    got = {name: (*row.shape, row.parameters, row.macs) for name, row in by_name(found).items()}
    assert got == expected
    assert found.macs == sum(row.macs for row in found.layers)
    assert found.parameters == sum(row.parameters for row in found.layers)


def test_the_batch_is_no_part_of_a_shape() -> None:
    assert by_name(describe_layers(nets.plain(), nets.images(1, h=16, w=20)))["conv2"].shape == (8, 8, 10)


class _Functional(nn.Module):
    """A convolution and a product with the network's own weights, which no layer has."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1, bias=False)
        self.weight = nn.Parameter(torch.randn(5, 4, 3, 3))
        self.matrix = nn.Parameter(torch.randn(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.conv(x), self.weight).mean((2, 3)) @ self.matrix


@hard_net
def functional() -> nn.Module:
    return _Functional()


@hard_net
def functional_inside() -> nn.Module:
    return nn.Sequential(OrderedDict(block=_Functional(), last=nn.Linear(2, 3)))


def test_a_functional_convolution_and_its_weights_are_in_the_totals() -> None:
    """No row has them: 10 x 10 x 5 x 4 x 9 and 5 x 2 multiply-adds, 5 x 4 x 9 + 5 x 2 weights."""
    found = describe_layers(functional(), nets.images(1))
    assert [row.name for row in found.layers] == ["conv"]
    assert found.macs == 144 * 12 + 100 * 180 + 10
    assert found.parameters == 12 + 180 + 10


def test_a_composite_has_what_its_parts_and_itself_spend() -> None:
    rows = by_name(describe_layers(functional_inside(), nets.images(1)))
    assert rows["block.conv"].macs == 144 * 12
    assert (rows["block"].macs, rows["block"].parameters) == (144 * 12 + 100 * 180 + 10, 12 + 180 + 10)
    assert rows["last"].macs == 6


def test_each_call_of_a_reused_layer_has_a_row_and_a_cost_of_its_own() -> None:
    """conv2 runs twice at one size; its weights are counted once in the total."""
    net = nets.shared_conv()
    found = describe_layers(net, nets.images(1))
    rows = by_name(found)
    assert list(rows) == ["conv1", "conv2#1", "conv2#2", "linear"]
    assert rows["conv2#1"].macs == rows["conv2#2"].macs == 144 * 8 * 8 * 9
    assert found.parameters == sum(p.numel() for p in net.parameters())
    assert found.macs == sum(row.macs for row in rows.values())


@hard_net
def shared_at_two_sizes() -> nn.Module:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    return nn.Sequential(OrderedDict(a=conv, pool=nn.MaxPool2d(2), b=conv))


def test_a_layer_that_runs_at_two_sizes_costs_two_prices() -> None:
    """a and b are one module: its calls are a#1 and a#2."""
    found = describe_layers(shared_at_two_sizes(), nets.images(1))
    rows = by_name(found)
    assert (rows["a#1"].macs, rows["a#2"].macs) == (144 * 81, 36 * 81)
    assert (found.parameters, found.macs) == (84, 180 * 81)


class _Recursive(nn.Module):
    """Calls itself once more from within its own call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor, again: bool = True) -> Tensor:
        x = self.conv(x)
        return self(x, False) if again else x


def test_a_call_within_a_call_of_the_same_layer_costs_its_own_part() -> None:
    """The inner call ends first: one convolution of 144 x 3 x 3, and the outer one two."""

    @hard_net
    def recursive() -> nn.Module:
        return nn.Sequential(_Recursive())

    rows = by_name(describe_layers(recursive(), nets.images(1)))
    assert {name: row.macs for name, row in rows.items()} == {
        "0.conv#1": 1296, "0.conv#2": 1296, "0#1": 1296, "0#2": 2592,
    }  # fmt: skip


def test_receptive_fields_are_those_of_each_layer_alone() -> None:
    """Oracle: ``receptive_field`` of that layer's own output; null where it is the whole input."""
    net = nets.overlapping_pool()
    image = nets.images(1, h=32, w=32).requires_grad_()
    rows = by_name(describe_layers(net, image.detach()))
    x = image
    for name, layer in net.named_children():
        x = layer(x)
        field = receptive_field(x, image) if x.ndim == 4 else None
        expected = (None, None) if field is None else (field.size, field.stride)
        assert (rows[name].field_size, rows[name].field_stride) == expected, name
    assert rows["pool1"].field_size == (5, 5)
    assert rows["linear"].field_size is None


def test_a_layer_whose_output_is_written_in_place_later_keeps_its_own_field() -> None:
    """``h += shortcut`` after the 1x1 convolution: its own field is one pixel, the sum's is 3."""

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.point = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            shortcut = self.wide(x)
            h = self.point(x)
            h += shortcut
            return h.mean((2, 3))

    @hard_net
    def adds() -> nn.Module:
        return Adds()

    rows = by_name(describe_layers(adds(), nets.images(1)))
    assert rows["wide"].field_size == (3, 3)
    assert rows["point"].field_size == (1, 1)


@pytest.mark.parametrize("factory", nets.EVERY)
def test_every_hard_net_is_listed_layer_by_layer_and_left_as_it_was(factory) -> None:
    """Every layer that runs and gives a tensor; the autouse fixture sees to the rest, torch's global hooks too."""
    net = factory()
    found = describe_layers(net, nets.images(1))
    ran = {row.name.split("#")[0] for row in found.layers}
    silent = {"auxiliary"} if factory is nets.unused_layer else set()
    assert ran == set(named_layers(net)) - silent
    assert found.parameters == sum(p.numel() for p in net.parameters())


def test_nothing_is_left_behind_where_the_network_raises() -> None:
    with pytest.raises(nets.OutOfOrder):
        describe_layers(nets.raises_on_call(1), nets.images(1))


# ---- one part of the network ---------------------------------------------------------------------------------


def test_inside_a_layer_are_its_own_rows_and_totals() -> None:
    found = describe_layers(functional_inside(), nets.images(1)).inside("block")
    assert [row.name for row in found.layers] == ["block.conv", "block"]
    assert (found.parameters, found.macs) == (12 + 180 + 10, 144 * 12 + 100 * 180 + 10)


def test_inside_a_reused_layer_every_call_is_counted_and_its_weights_once() -> None:
    found = describe_layers(nets.shared_conv(), nets.images(1)).inside("conv2")
    assert [row.name for row in found.layers] == ["conv2#1", "conv2#2"]
    assert (found.parameters, found.macs) == (8 * 8 * 9 + 8, 2 * 144 * 8 * 8 * 9)


def test_a_name_that_only_begins_alike_is_not_inside() -> None:
    @hard_net
    def alike() -> nn.Module:
        return nn.Sequential(OrderedDict(conv1=nn.Conv2d(3, 3, 1), conv10=nn.Conv2d(3, 3, 1)))

    assert [r.name for r in describe_layers(alike(), nets.images(1)).inside("conv1").layers] == ["conv1"]


# ---- what programs read --------------------------------------------------------------------------------------


def test_the_json_of_a_layer() -> None:
    rows = by_name(describe_layers(nets.strided(), nets.images(1)))
    assert rows["conv3"].as_json() == {
        "name": "conv3",
        "type": "Conv2d",
        "shape": [8, 6, 2],
        "parameters": 8 * 8 * 3,
        "macs": 6 * 2 * 8 * 8 * 3,
        "receptive_field": {"size": [11, 15], "stride": [2, 4]},
    }
    assert rows["linear"].as_json()["receptive_field"] is None


# ---- the input that is tried ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preprocess", "shape"),
    [
        (Preprocess(size=40, crop=32), (1, 3, 32, 32)),
        (Preprocess(size=40, crop=(24, 48)), (1, 3, 24, 48)),
        (Preprocess(size=40, crop=None), (1, 3, 40, 40)),
        (Preprocess(size=None, crop=None), (1, 3, 224, 224)),
        (Preprocess(size=28, crop=28, mean=(0.5,), std=(0.5,)), (1, 1, 28, 28)),
    ],
)
def test_the_example_has_the_size_and_channels_that_the_network_is_used_at(preprocess, shape) -> None:
    x = example_input(Network(nets.plain(), preprocess, (), "x"))
    assert (tuple(x.shape), x.dtype) == (shape, torch.float64)
    # zeros are the mean colour
    torch.testing.assert_close(preprocess.inverse(x.float())[0, :, 0, 0], torch.tensor(preprocess.mean))


def test_with_a_preprocessing_of_the_users_own_the_first_convolution_says_the_channels() -> None:
    x = example_input(Network(nets.four_channel(dtype=torch.float16), lambda photo: photo, (), "x"))
    assert (tuple(x.shape), x.dtype) == ((1, 4, 224, 224), torch.float16)


# ---- torchvision's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "giga"),
    [("resnet50", 25_557_032, 4.09), ("squeezenet1_0", 1_248_424, 0.82), ("mobilenet_v2", 3_504_872, 0.30)],
)
def test_published_totals(name: str, parameters: int, giga: float) -> None:
    """torchvision's own documentation (num_params, GFLOPS) at 224 pixels."""
    from torchvision import models

    with torch.device("meta"):
        on_meta = models.get_model(name, weights=None)
    net = on_meta.to_empty(device="cpu").eval()
    with torch.no_grad():
        for value in [*net.parameters(), *net.buffers()]:
            value.zero_()  # no pass depends on the values, and drawing them takes long
    found = describe_layers(net, torch.zeros(1, 3, 224, 224))
    assert found.parameters == parameters
    assert round(found.macs / 1e9, 2) == giga
    leaves = [row for row in found.layers if not list(row.module.children())]
    assert sum(row.macs for row in leaves) == found.macs
