"""``dream``: what reaches the maths, sizes, octaves left out, breaks, results. The dreams are proved in synthesis."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import convscope as cs
from convscope.network.finer_maps import last_finer_layer
from convscope.network.pixel_inputs import pixel_input
from convscope.network.preprocessing import Preprocess
from convscope.seeds import seeded
from convscope.synthesis.dreaming import dream_steps, octave_sizes
from convscope.synthesis.guides import guide
from convscope.synthesis.objectives import Objective, layer, logit, unit
from tests import nets
from tests.friendly import PREPROCESS, network, photo
from tests.nets.building import hard_net

QUICK: dict[str, Any] = {"octaves": 2, "steps": 3, "jitter": 4}


def pixels(image: Image.Image, mode: str = "RGB") -> Tensor:
    """``(1, c, h, w)`` float32 in [0, 1]."""
    levels = np.array(image.convert(mode))
    return torch.from_numpy(levels.reshape(*levels.shape[:2], -1)).permute(2, 0, 1)[None].float() / 255


def by_hand(net: cs.Network, objective: Objective, start: Tensor, *, seed: int = 0, **options: Any) -> Tensor:
    given: dict[str, Any] = QUICK | options
    sizes = octave_sizes((start.shape[2], start.shape[3]), given["octaves"])
    to_input = pixel_input(net)
    *_, last = dream_steps(
        net.module, objective, start.to(to_input.dtype), to_input=to_input, sizes=sizes, steps=given["steps"],
        jitter=given["jitter"], generator=seeded(seed),
    )  # fmt: skip
    return last.image[0].float()


# ---- what is dreamt of ---------------------------------------------------------------------------------------


def test_a_layer_a_unit_several_and_an_objective_are_the_dreams_of_the_maths() -> None:
    net, start = network(nets.plain), pixels(photo())
    asked: list[tuple[dict[str, Any], Objective]] = [
        ({"layer": "conv2"}, layer("conv2", 2)),
        ({}, layer("relu1", 2)),
        ({"unit": "conv2:3"}, unit("conv2:3")),
        ({"unit": ["conv2:3", "conv1:1"]}, unit("conv2:3") + unit("conv1:1")),
        ({"unit": "conv2:3,5"}, unit("conv2:3") + unit("conv2:5")),
        ({"unit": 0.5 * unit("conv2:1") - layer("conv1")}, 0.5 * unit("conv2:1") - layer("conv1")),
    ]
    assert last_finer_layer(net.module, net.input_of(photo())) == "relu1"
    for request, objective in asked:
        found = cs.dream(net, photo(), **request, seed=3, **QUICK)
        assert torch.equal(found.values, by_hand(net, objective, start, seed=3)), request
        assert torch.equal(found.start, start[0])
        before = float(nets_score(net, objective, start))
        assert found.before == pytest.approx(before, rel=1e-5)
        assert found.after == pytest.approx(float(nets_score(net, objective, found.values[None])), rel=1e-5)


def nets_score(net: cs.Network, objective: Objective, image: Tensor) -> Tensor:
    from convscope.synthesis.objectives import evaluate

    return evaluate(net.module, objective, pixel_input(net)(image)).detach()


def test_a_guided_dream_follows_the_guides_features_at_its_own_size() -> None:
    net, other = network(nets.plain), photo(14, 22, seed=5)
    features = net.module[:4](pixel_input(net)(pixels(other)))  # pyright: ignore
    found = cs.dream(net, photo(), "conv2", guide=other, **QUICK)
    assert torch.equal(found.values, by_hand(net, guide("conv2", features), pixels(photo())))
    assert found.title == "Dream of conv2, guided"
    assert np.array_equal(np.array(found.guide), np.array(other))


def test_a_class_and_a_fully_connected_layer_are_dreamt_at_the_networks_own_size() -> None:
    """Oracle: the photo as the network sees it, back from its input."""
    net = network(nets.plain)
    seen = PREPROCESS.inverse(PREPROCESS(photo()))
    one: dict[str, Any] = QUICK | {"octaves": 1}
    for request, objective in (({"unit": "lion"}, logit(2)), ({"layer": "linear1"}, layer("linear1", 2))):
        found = cs.dream(net, photo(), **request, **one)
        assert torch.equal(found.start, seen[0])
        assert torch.equal(found.values, by_hand(net, objective, seen, octaves=1))
        assert found.notes[0].startswith("at the network's own size, as classes and fully connected layers without")
    free = cs.dream(net, photo(), unit="lion", side=15, **one)
    assert free.values.shape == (3, 12, 15)
    assert free.notes == ()


# ---- sizes ---------------------------------------------------------------------------------------------------


def test_no_steps_give_the_photos_own_pixels() -> None:
    for side, expected in ((None, photo()), (2000, photo())):
        found = cs.dream(network(), photo(), steps=0, side=side)
        assert np.array_equal(np.array(found.image()), np.array(expected))
        assert torch.equal(found.values, pixels(expected)[0])
        assert found.notes[-1:] != ("the picture is as it was",)


def test_the_longest_side_is_bounded_and_never_enlarged() -> None:
    net = network()
    big = photo(700, 350)
    assert cs.dream(net, big, steps=0).values.shape == (3, 256, 512)
    found = cs.dream(net, big, steps=0, side=70)
    assert found.values.shape == (3, 35, 70)
    small = big.copy()
    small.thumbnail((70, 70), Image.Resampling.LANCZOS)
    assert torch.equal(found.values, pixels(small)[0])
    assert cs.dream(net, photo(9, 14), steps=0).values.shape == (3, 14, 9)


def test_octaves_that_the_network_cannot_take_are_left_out_and_said() -> None:
    """``plain`` pools 12 px away; of 20 x 16 px only octaves of 4 px and more are left."""
    found = cs.dream(network(nets.plain), photo(), "conv2", octaves=9, steps=1)
    assert [octave.size for octave in found.octaves] == octave_sizes((16, 20), 9)[-len(found.octaves) :]
    assert min(found.octaves[0].size) >= 2
    assert 3 <= len(found.octaves) < 9
    (note,) = found.notes
    assert note.startswith(f"{9 - len(found.octaves)} of 9 octaves left out: they are too small for a small net, at ")


def test_octaves_of_no_pixels_are_left_out_and_said() -> None:
    """Oracle: 4 px shrink to 3, 2 and 1; half a pixel is none."""
    found = cs.dream(network(nets.plain), photo(4, 4), "conv1", octaves=9, steps=0)
    assert [octave.size for octave in found.octaves] == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert found.notes == ("5 of 9 octaves left out: the picture cannot be made smaller",)


class Only12Pixels(nn.Module):
    """Refuses inputs of another size, as networks with position embeddings do."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (12, 12):
            raise ValueError(f"input of {tuple(x.shape[2:])}, not (12, 12)")
        return x


@hard_net
def only_12_px() -> nn.Module:
    return nn.Sequential(Only12Pixels(), nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3))


def test_a_network_of_one_size_dreams_at_that_size_in_one_octave_and_says_so() -> None:
    found = cs.dream(network(only_12_px), photo(), "1", steps=1)
    assert found.values.shape == (3, 12, 12)
    assert len(found.octaves) == 1
    assert found.notes[0].startswith("at the network's own size, for: a small net cannot take an input of 3 x 16 x 20")
    assert found.notes[1].startswith("3 of 4 octaves left out")
    with pytest.raises(cs.ConvscopeError, match="a small net cannot take an input of 3 x 16 x 20: input of"):
        cs.dream(network(only_12_px), photo(), "1", side=20)


# ---- noise, other networks -----------------------------------------------------------------------------------


def test_noise_is_near_grey_and_of_the_seed() -> None:
    net = network()
    found, same, other = (cs.dream(net, None, side=40, seed=seed, **QUICK) for seed in (1, 1, 2))
    expected = 0.5 + 0.01 * torch.randn(1, 3, 40, 40, generator=seeded(1))
    assert torch.equal(found.start, expected[0])
    assert torch.equal(found.values, same.values)
    assert not torch.equal(found.values, other.values)
    assert (found.from_noise, found.stamp.seed, found.stamp.data_hash) == (True, 1, "")


def test_a_grey_network_dreams_in_grey() -> None:
    net = network(nets.grey, preprocess=Preprocess(12, 12, (0.5,), (0.25,)))
    found = cs.dream(net, photo(), "conv2", **QUICK)
    assert torch.equal(found.values, by_hand(net, layer("conv2", 2), pixels(photo(), "L")))
    levels = np.array(found.image())
    assert (levels == levels[..., :1]).all()


def test_a_network_of_four_channels_dreams_of_noise_only() -> None:
    net = network(nets.four_channel, preprocess=Preprocess(12, 12, (0.5,) * 4, (0.25,) * 4))
    found = cs.dream(net, None, "conv2", side=16, **QUICK)
    assert found.values.shape == (4, 16, 16)
    assert found.picture().width > 0
    with pytest.raises(cs.ConvscopeError, match="takes 4: its dreams begin with noise"):
        cs.dream(net, photo(), "conv2")


def test_a_bare_callable_is_measured() -> None:
    def prepare(image: Image.Image) -> Tensor:
        return (pixels(image.resize((12, 12))) - 0.5) / 0.25

    measured, known = (
        network(nets.plain, preprocess=p) for p in (prepare, Preprocess(12, 12, (0.5,) * 3, (0.25,) * 3))
    )
    one, other = (cs.dream(net, photo(), "conv2", **QUICK).values for net in (measured, known))
    assert torch.allclose(one, other, atol=1e-3)
    assert cs.dream(measured, photo(), unit="lion", **QUICK).values.shape == (3, 12, 12)


@pytest.mark.parametrize("factory", [nets.inplace_relu, nets.functional_inplace_relu, nets.frozen])
def test_in_place_networks_dream_as_others(factory: Callable[..., nn.Module]) -> None:
    one, other = (cs.dream(network(f), photo(), "conv2", **QUICK).values for f in (factory, nets.plain))
    assert torch.allclose(one, other, atol=1e-5)


def test_the_bundled_network_dreams_higher_in_every_octave() -> None:
    found = cs.dream(cs.load(device="cpu"), photo(80, 60), octaves=2, steps=4)
    assert found.objective == "features.13"
    for octave in found.octaves:
        assert octave.end > 1.2 * octave.start


def test_a_unit_that_hears_nothing_leaves_the_picture_and_says_so() -> None:
    found = cs.dream(network(), photo(), unit=Objective((), True, lambda _, z: z[:, 0] * 0, "nothing"), **QUICK)
    assert torch.equal(found.values, found.start)
    assert found.notes[-1] == "the picture is as it was: nothing has no gradient here, nothing that could rise"


# ---- breaks, callbacks ---------------------------------------------------------------------------------------


class Breaking:
    """Keeps in memory; breaks off as on Ctrl-C when the ``at``-th state was kept."""

    def __init__(self, at: int) -> None:
        self.at, self.states, self.tensors = at, 0, dict[str, dict[str, Tensor]]()

    def kept(self, key: str) -> dict[str, Tensor] | None:
        return self.tensors.get(key)

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        self.tensors[key] = {name: tensor.clone() for name, tensor in tensors.items()}
        self.states += key.endswith("/state")
        if self.states == self.at:
            raise KeyboardInterrupt

    def forget(self, key: str) -> None:
        self.tensors.pop(key, None)

    def is_due(self) -> bool:
        return True


@pytest.mark.parametrize("at", [1, 3, 4, 6, 8])
@pytest.mark.parametrize("start", [photo(), None])
def test_a_dream_that_was_broken_off_is_the_unbroken_one_to_the_bit(at: int, start: Image.Image | None) -> None:
    net, options = network(nets.plain), QUICK | {"side": 20, "layer": "conv2"}
    whole, keeper = cs.dream(net, start, **options), Breaking(at)
    with pytest.raises(KeyboardInterrupt):
        cs.dream(net, start, keeper=keeper, key="a", **options)
    told: list[tuple[int, int]] = []
    found = cs.dream(net, start, keeper=keeper, key="a", on_step=lambda *done: told.append(done), **options)
    assert torch.equal(found.values, whole.values)
    assert found.octaves == whole.octaves
    assert len(told) == 9 - at
    assert list(keeper.tensors) == ["a"]
    again = cs.dream(net, start, keeper=keeper, key="a", on_step=lambda *done: told.append(done), **options)
    assert len(told) == 9 - at
    assert torch.equal(again.values, whole.values)
    assert again.octaves == whole.octaves


def test_steps_and_frames_are_told_of() -> None:
    told: list[tuple[int, int]] = []
    frames: list[Image.Image] = []
    found = cs.dream(network(), photo(), on_step=lambda *done: told.append(done), on_frame=frames.append, **QUICK)
    assert told == [(0, 6), (1, 6), (2, 6), (3, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    assert {frame.size for frame in frames} == {(20, 16)}
    assert len(frames) == 8
    assert np.array_equal(np.array(frames[-1]), np.array(found.image()))
