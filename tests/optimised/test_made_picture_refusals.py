"""Bad input to ``visualize``, ``dream`` and ``invert``: a result that says what it is, or a refusal that names what was
given. Oracles: a dead unit's score of 0 and the start that stays; the last picture before a NaN; messages."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.network.preprocessing import Preprocess
from convscope.optimised.interrupted import UnfinishedError
from convscope.synthesis.recipes import PLAIN
from tests import friendly, nets
from tests.untouched import watch

STEPS = {"steps": 4}
DREAM = {"steps": 2, "octaves": 2, "jitter": 1}
MAKERS: dict[str, Callable[..., Any]] = {
    "visualize": lambda net: cs.visualize(net, "conv1:1", **STEPS),
    "dream": lambda net: cs.dream(net, friendly.photo(), "conv1", **DREAM),
    "dream from noise": lambda net: cs.dream(net, None, "conv1", **DREAM),
    "invert": lambda net: cs.invert(net, friendly.photo(), "conv1", **STEPS),
}
every_call = pytest.mark.parametrize("call", MAKERS)


def network(factory: Callable[..., nn.Module] = nets.plain, **options: Any) -> cs.Network:
    return friendly.network(factory, **options)


def changed(layer: str, weight: float | None, bias: float, unit: slice = slice(None)) -> cs.Network:
    """``plain`` with a layer's parameters, or a unit's of them, overwritten; ``weight=None`` keeps the weights."""

    def build(dtype: torch.dtype) -> nn.Module:
        module = copy.deepcopy(nets.plain(dtype=dtype))  # the net itself is watched for traces
        one: Any = module.get_submodule(layer)
        with torch.no_grad():
            one.bias[unit] = bias
            if weight is not None:
                one.weight[unit] = weight
        return watch(module)

    return network(build)


def dead() -> cs.Network:
    """Nothing of ``relu1`` ever fires, and nothing that is let through would change that."""
    return changed("conv1", 0.0, -1.0)


# ---- units that never fire ----


@pytest.mark.parametrize("asked", ["relu1:2", "relu1:2@1,1", "relu1"])
@pytest.mark.parametrize("weight", [0.0, None])
def test_a_dead_unit_gives_a_picture_that_is_marked(asked: str, weight: float | None) -> None:
    """The score is 0 to the bit; without weights before it the start stays."""
    net = changed("conv1", weight, -1e4)
    frames: list[Tensor] = []
    made = cs.visualize(net, asked, **STEPS, on_frame=lambda _, named: frames.append(named[asked]))
    assert made.dead == (asked,)
    assert made.scores.tolist() == [0]
    assert "never fires" in made.facts()
    assert bool(torch.isfinite(made.values).all())
    if weight == 0.0:
        torch.testing.assert_close(made.values[0], frames[0], rtol=0, atol=0)
    assert made.picture().size > (200, 200)


def test_a_dead_unit_beside_others_does_not_disturb_them() -> None:
    net = changed("conv1", 0.0, -1.0, slice(2, 3))
    made = cs.visualize(net, ["relu1:1", "relu1:2", "relu1:3"], **STEPS)
    assert made.dead == ("relu1:2",)
    alone = cs.visualize(net, ["relu1:1", "relu1:3"], **STEPS)
    torch.testing.assert_close(made.values[[0, 2]], alone.values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("subject", [{"layer": "relu1"}, {"unit": "relu1:2"}])
@pytest.mark.parametrize("photo", [friendly.photo(), None])
def test_a_dream_of_what_never_fires_is_the_photo_and_says_so(subject: dict[str, str], photo) -> None:
    made = cs.dream(dead(), photo, **subject, **DREAM)
    torch.testing.assert_close(made.values, made.start, rtol=0, atol=0)
    assert any("nothing that could rise" in note for note in made.notes)
    assert made.before == made.after == 0


def test_features_that_are_all_zero_cannot_be_inverted() -> None:
    with pytest.raises(ConvscopeError, match=r"layer 'relu1' cannot be inverted for this photo: .*zero"):
        cs.invert(dead(), friendly.photo(), "relu1", **STEPS)


# ---- what there is not ----


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("conv1:99", r"99.*(0 to 5|6 units)"),
        ("conv1:2-99", r"99.*(0 to 5|6 units)"),
        ("conv1:-1", "-1"),
        ("conv1:0@99,0", r"99.*12 x 12|99"),
        ("conv9:0", "conv9"),
        ("conv11", r"did you mean 'conv1'"),
        ("lioness", r"did you mean 'Lion'"),
        ("crane", "crane"),
        (7, r"class 7 .* 5 classes \(0 to 4\)"),
        (-1, "-1"),
        ([], "nothing to make pictures of|at least one"),
    ],
)
def test_targets_that_do_not_exist(asked: Any, message: str) -> None:
    """``visualize`` and ``dream`` take the same names; two classes called alike are no name."""
    with pytest.raises(ConvscopeError, match=message):
        cs.visualize(network(), asked, **STEPS)
    with pytest.raises(ConvscopeError, match=message):
        cs.dream(network(), friendly.photo(), unit=asked, **DREAM)


@pytest.mark.parametrize("layer", ["conv11", "conv1:3", ["conv1", "conv11"]])
def test_layers_that_do_not_exist(layer: Any) -> None:
    with pytest.raises(ConvscopeError, match="did you mean 'conv1'"):
        cs.invert(network(), friendly.photo(), layer, **STEPS)
    if isinstance(layer, str):
        with pytest.raises(ConvscopeError, match="conv1"):
            cs.dream(network(), friendly.photo(), layer, **DREAM)


# ---- numbers that are none ----


class Brittle(nn.Module):
    """Finite for the pictures that an ascent starts with, NaN once a value has moved by ``limit`` from its start."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 1)
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv1(x)
        broken = (x.detach().abs().amax((1, 2, 3)) > self.limit)[:, None, None, None]
        return maps.masked_fill(broken, torch.nan).mean((2, 3))


@every_call
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_network_of_nan_is_a_clear_error_before_any_picture(call: str, value: float) -> None:
    net = changed("conv1", value, 0.0)
    with pytest.raises(ConvscopeError, match=r"not finite|is (nan|inf)"):
        MAKERS[call](net)


@every_call
def test_nan_behind_the_layer_that_is_asked_for_does_not_matter(call: str) -> None:
    """The pass ends at the last layer that is needed."""
    made = MAKERS[call](changed("linear2", float("nan"), 0.0))
    assert bool(torch.isfinite(made.values).all())


def test_nan_on_the_way_names_the_step_and_keeps_the_last_good_picture() -> None:
    """Oracle: the picture of the step before, from a network without the NaN."""
    prepared = Preprocess(12, 12, (0.5,) * 3, (1.0,) * 3)
    nets_of = [friendly.network(lambda limit=limit, **_: brittle(limit), preprocess=prepared) for limit in (0.3, 9.0)]
    with pytest.raises(UnfinishedError, match=r"class 0|tabby") as stopped:
        cs.visualize(nets_of[0], 0, steps=64, recipe=PLAIN)
    assert stopped.value.ready is None
    assert stopped.value.missing == ("tabby",)
    step = int(str(stopped.value).split("the picture of step ")[1].split()[0])
    assert f"at step {step + 1}" in str(stopped.value)
    frames: dict[int, Tensor] = {}
    cs.visualize(nets_of[1], 0, steps=64, recipe=PLAIN, on_frame=lambda at, made: frames.update({at: made["tabby"]}))
    torch.testing.assert_close(stopped.value.last["tabby"], frames[step], rtol=0, atol=0)
    assert float((frames[step] - 0.5).abs().max()) <= 0.3 < float((frames[step + 1] - 0.5).abs().max())


def brittle(limit: float) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Brittle(limit).eval()


# ---- sizes ----


@pytest.mark.parametrize("size", [20, 2, (12, 13)])
def test_sizes_that_the_network_refuses_are_refused_before_the_first_step(size: Any) -> None:
    steps: list[int] = []
    with pytest.raises(ConvscopeError, match=r"12|size"):
        cs.visualize(network(nets.mlp), 0, size=size, **STEPS, on_step=lambda done, _: steps.append(done))
    assert not steps


@pytest.mark.parametrize("size", [0, -3, (12, 0)])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(ConvscopeError, match="size"):
        cs.visualize(network(), "conv1:1", size=size, **STEPS)


def test_a_photo_of_a_pixel_and_a_long_one() -> None:
    """What the network can take of them is dreamt and inverted; all else is said."""
    for width, height in ((1, 1), (400, 2)):
        photo = friendly.photo(width, height)
        assert cs.invert(network(), photo, "conv1", **STEPS).values.shape == (3, 12, 12)
        made = cs.dream(network(), photo, "conv1", **DREAM)
        assert bool(torch.isfinite(made.values).all())


def test_a_side_that_the_network_refuses() -> None:
    with pytest.raises(ConvscopeError, match=r"side|px|pixel"):
        cs.dream(network(), friendly.photo(), "conv1", side=0, **DREAM)


# ---- channels ----


def prepared(channels: int) -> Preprocess:
    return Preprocess(12, 12, (0.5,) * channels, (0.25,) * channels)


@pytest.mark.parametrize("channels", [1, 2, 4, 9])
def test_pictures_of_any_number_of_channels_can_be_made(channels: int) -> None:
    net = network(channels=channels, preprocess=prepared(channels))
    made = cs.visualize(net, ["conv1:1", "tabby"], **STEPS)
    assert made.values.shape == (2, channels, 12, 12)
    assert made.picture().size > (200, 200)
    dream = cs.dream(net, None, "conv1", **DREAM)
    assert len(dream.values) == channels
    assert dream.after > dream.before
    assert dream.picture().size > (200, 200)


def test_a_grey_network_dreams_and_inverts_in_grey() -> None:
    net = network(nets.grey, preprocess=prepared(1))
    dream, inversion = cs.dream(net, friendly.photo(), "conv1", **DREAM), cs.invert(net, friendly.photo(), "conv1")
    assert dream.values.shape == (1, *dream.values.shape[1:])
    assert inversion.values.shape == (1, 12, 12)
    assert inversion.relative_error < 0.5 * inversion.grey_error
    for made in (dream, inversion):
        drawn = np.asarray(made.image())
        assert (drawn == drawn[:, :, :1]).all()


@pytest.mark.parametrize("channels", [2, 4, 9])
def test_a_photo_for_a_network_of_other_channels_is_refused(channels: int) -> None:
    net = network(channels=channels, preprocess=prepared(channels))
    message = rf"a photo has 3 channels .* takes {channels}"
    with pytest.raises(ConvscopeError, match=message):
        cs.invert(net, friendly.photo(), "conv1", **STEPS)
    with pytest.raises(ConvscopeError, match=message):
        cs.dream(net, friendly.photo(), "conv1", **DREAM)


@every_call
def test_a_preprocess_that_works_photo_by_photo_is_refused_by_name(call: str) -> None:
    def standardised(photo: Image.Image) -> Tensor:
        x = torch.from_numpy(np.array(photo.resize((12, 12)))).permute(2, 0, 1)[None].float()
        return (x - x.mean()) / (x.std() + 1)

    with pytest.raises(ConvscopeError, match="no pictures can be made through the preprocess 'standardised'"):
        MAKERS[call](network(preprocess=standardised))


@every_call
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_work(call: str, dtype: torch.dtype) -> None:
    made = MAKERS[call](network(dtype=dtype))
    assert made.values.dtype == torch.float32
    assert bool(torch.isfinite(made.values).all())


@every_call
def test_a_constant_photo_or_network_gives_a_result(call: str) -> None:
    """No gradient at all: every picture stays as it began, and nothing fails."""
    net = changed("conv1", 0.0, 1.0)
    made = MAKERS[call](net)
    assert bool(torch.isfinite(made.values).all())
    black = Image.new("RGB", (20, 16))
    assert bool(torch.isfinite(cs.dream(network(), black, "conv1", **DREAM).values).all())
    assert bool(torch.isfinite(cs.invert(network(), black, "conv1", **STEPS).values).all())
