"""Occlusion against brute force: one forward pass a square, one image at a time, and closed forms on linear nets."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.attribution import occlusion
from convscope.attribution.fillings import blur, filling
from convscope.attribution.sliding_occlusion import covering_mean, plain_engine, square_of, squares
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.attribution.test_gradients import words_then_image

EXACT = {"rtol": 0, "atol": 1e-12}
READINGS = ["pixels", "drop", "score", "class"]


class _Shape(nn.Module):
    """Nonlinear in every pixel and its neighbours, for images of one pixel and more; cheap."""

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(x[0, 0].numel(), dtype=x.dtype).reshape(x.shape[2:])
        near = x[:, 0] * x[:, -1].roll(1, -1)
        return torch.stack([(near * steps.sin()).sum((1, 2)), (x.sum(1) * steps.cos()).sin().sum((1, 2))], 1)


def _class_0(out: Tensor) -> Tensor:
    return out[:, 0]


# ---- every size, stride and side ----


@settings(max_examples=50)
@given(st.data())
def test_every_size_and_stride_is_brute_force(data: st.DataObject) -> None:
    """All four readings on images that are not square, with squares that are not either."""
    height, width = data.draw(st.integers(1, 8), "height"), data.draw(st.integers(1, 8), "width")
    size = (data.draw(st.integers(1, height), "size y"), data.draw(st.integers(1, width), "size x"))
    stride = (data.draw(st.integers(1, size[0]), "stride y"), data.draw(st.integers(1, size[1]), "stride x"))
    batch = data.draw(st.integers(1, 9), "batch")
    net, x = _Shape(), nets.images(2, 2, height, width)
    for reading in READINGS:
        asked: Any = {"size": size, "stride": stride, "reading": reading}
        expected = oracles.occlusion(net, x, score=_class_0, **asked)
        found = occlusion(net, x, target=0, batch=batch, **asked)
        assert found.shape == expected.shape
        assert torch.allclose(found.double(), expected, **EXACT)


@pytest.mark.parametrize("height", range(1, 9))
def test_positions_are_the_formula_and_cover_every_pixel(height: int) -> None:
    """Exhaustive: ceil((H - size) / stride) + 1 on an axis, the last window cut at the edge, none beyond it."""
    for size in range(1, height + 1):
        for stride in range(1, size + 1):
            at = squares(height, 8, (size, 3), (stride, 2))
            assert at.rows == math.ceil((height - size) / stride) + 1
            assert at.columns == math.ceil((8 - 3) / 2) + 1
            assert len(at.boxes) == at.rows * at.columns
            rows = [(y0, y1) for y0, _, y1, _ in at.boxes[:: at.columns].tolist()]
            starts = oracles.window_starts(height, size, stride)
            assert rows == [(y, min(y + size, height)) for y in starts]
            assert {y for y0, y1 in rows for y in range(y0, y1)} == set(range(height))
            columns = [(x0, x1) for _, x0, _, x1 in at.boxes[: at.columns].tolist()]
            assert columns == [(x, min(x + 3, 8)) for x in oracles.window_starts(8, 3, 2)]


@pytest.mark.parametrize("factory", [nets.plain, nets.residual, nets.norm_dropout, nets.writes_input])
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(("size", "stride"), [(4, 2), (5, 3), ((3, 7), (2, 5)), (12, 1)])
def test_networks_are_brute_force(factory: Callable[..., nn.Module], reading: Any, size: Any, stride: Any) -> None:
    net, x = factory(), nets.images(2, h=12, w=15)
    asked = {"size": size, "stride": stride, "reading": reading}
    expected = oracles.occlusion(lambda x: net(x.clone()), x, score=lambda out: out[:, 3], **asked)
    found = occlusion(net, x, target=3, batch=5, **asked)
    assert torch.allclose(found.double(), expected, **EXACT)


# ---- readings ----


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_drop_of_a_linear_net_is_the_sum_of_w_x_under_the_square(stride: int) -> None:
    """Closed form, for the mean colour and for any other: sum of w (x - colour)."""
    net, x = nets.linear_only(), nets.images(2, h=8, w=9)
    units = torch.eye(3 * 8 * 9, dtype=torch.float64).reshape(-1, 3, 8, 9)
    weights = (net(units) - net(torch.zeros_like(units))).detach()[:, 1].reshape(1, 3, 8, 9)
    for fill, colour in ((None, 0.0), (0.75, 0.75), ([0.5, -1.0, 2.0], torch.tensor([0.5, -1.0, 2.0])[:, None, None])):
        lost = (weights * (x - colour)).sum(1)
        drops = occlusion(net, x, target=1, size=3, stride=stride, reading="drop", fill=fill)
        for i in range(drops.shape[1]):
            for j in range(drops.shape[2]):
                under = lost[:, i * stride : i * stride + 3, j * stride : j * stride + 3].sum((1, 2))
                assert torch.allclose(drops[:, i, j], under, **EXACT)


def test_single_pixels_of_a_linear_net_are_w_times_x() -> None:
    net, x = nets.linear_only(bias=False), nets.images(2, h=8, w=8)
    pixels = occlusion(net, x, target=2, size=1, stride=1)
    assert torch.allclose(pixels.sum((1, 2)), net(x)[:, 2].detach(), **EXACT)
    assert torch.equal(pixels, occlusion(net, x, target=2, size=1, stride=1, reading="drop"))


def test_the_score_is_what_is_left_and_the_drop_what_is_lost() -> None:
    net, x = nets.plain(), nets.images()
    left = occlusion(net, x, target=1, size=4, reading="score")
    lost = occlusion(net, x, target=1, size=4, reading="drop")
    assert torch.allclose(left + lost, net(x)[:, 1].detach()[:, None, None].expand_as(left), **EXACT)


def test_the_class_is_that_of_the_covered_image_in_whole_numbers() -> None:
    """Oracle: brute force. The target does not matter; the score neither."""
    net, x = nets.plain(), nets.images(3)
    found = occlusion(net, 5 * x, size=6, stride=1, reading="class")
    assert found.dtype == torch.int64
    assert torch.equal(found, occlusion(net, 5 * x, size=6, stride=1, reading="class", target=2, score="probability"))
    expected = oracles.occlusion(net, 5 * x, score=_class_0, size=6, stride=1, reading="class")
    assert torch.equal(found.double(), expected)


class _Answer(nn.Module):
    """An output with ``.logits``, as transformers' models give it."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Any:
        class Output:
            logits = self.inside(x)

        return Output()


@pytest.mark.parametrize("reading", READINGS)
def test_an_output_with_logits_is_read_as_its_logits(reading: Any) -> None:
    net, x = nets.plain(), nets.images()
    assert torch.equal(occlusion(_Answer(net), x, reading=reading), occlusion(net, x, reading=reading))


def test_the_mean_over_covering_squares_is_a_slow_loop() -> None:
    at, drops = squares(7, 5, (3, 2), (2, 1)), nets.images(1, 1, 1, 12).flatten()
    means = covering_mean(drops, at, (7, 5))
    for y in range(7):
        for x in range(5):
            own = [
                d.item() for d, (t, u, v, w) in zip(drops, at.boxes.tolist(), strict=True) if t <= y < v and u <= x < w
            ]
            assert means[y, x].item() == pytest.approx(sum(own) / len(own), abs=1e-12)


# ---- what is explained ----


def test_the_top_class_is_that_of_the_whole_image() -> None:
    """The trap: each covered image's own top class."""
    net, x = nets.plain(), 5 * nets.images(3)
    top = net(x).argmax(1).tolist()
    assert (occlusion(net, x, size=6, reading="class") != torch.tensor(top)[:, None, None]).any()
    assert torch.equal(occlusion(net, x, size=6), occlusion(net, x, size=6, target=top))


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("targets", [[4, 0, 2], torch.tensor([4, 0, 2]), ("4", "conv2:1", 2), None, torch.tensor(1)])
def test_a_batch_is_its_images_one_by_one_each_with_its_own_target(reading: Any, targets: Any) -> None:
    net, x = nets.plain(), nets.images(3)
    own = targets.tolist() if isinstance(targets, Tensor) else targets
    own = own if isinstance(own, list | tuple) else [own] * 3
    single = [occlusion(net, x[i : i + 1], target=own[i], size=5, stride=3, reading=reading) for i in range(3)]
    found = occlusion(net, x, target=targets, size=5, stride=3, reading=reading)
    assert torch.allclose(found.double(), torch.cat(single).double(), **EXACT)


def test_a_probability_is_brute_force() -> None:
    net, x = nets.plain(), nets.images()
    expected = oracles.occlusion(net, x, score=lambda out: out.softmax(1)[:, 2], size=5, stride=2, reading="score")
    found = occlusion(net, x, target=2, score="probability", size=5, stride=2, reading="score")
    assert torch.allclose(found, expected, **EXACT)
    assert (found > 0).all()
    assert (found < 1).all()


def test_units_neurons_and_functions_are_brute_force() -> None:
    net, x = nets.plain(), nets.images()
    names = [name for name, _ in net.named_children()]
    part = net[: names.index("conv2") + 1]
    for target, of in (("conv2:3", lambda a: a[:, 3].mean((1, 2))), ("conv2:3@1,2", lambda a: a[:, 3, 1, 2])):
        expected = oracles.occlusion(lambda x, of=of: of(part(x))[:, None], x, score=_class_0, size=5, stride=3)
        assert torch.allclose(occlusion(net, x, target=target, size=5, stride=3), expected, **EXACT)
    expected = oracles.occlusion(net, x, score=lambda out: out[:, 0] - out[:, 1], size=5, stride=3)
    found = occlusion(net, x, target=lambda out: out[:, 0] - out[:, 1], size=5, stride=3)
    assert torch.allclose(found, expected, **EXACT)
    own = nets.dict_output()
    expected = oracles.occlusion(lambda x: own(x)["logits"], x, score=_class_0, size=5, stride=3)
    found = occlusion(own, x, target=lambda out: out["logits"][:, 0], size=5, stride=3)
    assert torch.allclose(found, expected, **EXACT)


def test_the_other_inputs_repeat_with_the_batch() -> None:
    """Brute force for each image with its own words; the image may come second, the words be integers."""
    net, image, words = words_then_image(), nets.images(3), torch.tensor([[1, 2, 3], [0, 6, 6], [5, 5, 4]])
    for reading in READINGS:
        asked: Any = {"size": 5, "stride": 3, "reading": reading, "batch": 4}
        expected = torch.cat(
            [
                oracles.occlusion(
                    lambda x, w=words[i : i + 1]: net(w, x),
                    image[i : i + 1],
                    score=_class_0,
                    size=5,
                    stride=3,
                    reading=reading,
                )
                for i in range(3)
            ]
        )
        by_place = occlusion(net, (words, image), wrt=1, target=0, **asked)
        by_name = occlusion(net, {"words": words, "image": image}, wrt="image", target=0, **asked)
        assert torch.allclose(by_place.double(), expected, **EXACT)
        assert torch.equal(by_name, by_place)
    with pytest.raises(ConvscopeError, match=r"an input of shape \(1, 3\) beside 3 images"):
        occlusion(net, (words[:1], image), wrt=1, target=0)
    top = net(words, image).argmax(1)
    assert torch.equal(occlusion(net, (words, image), wrt=1), occlusion(net, (words, image), wrt=1, target=top))


# ---- fills ----


def test_a_covered_pixel_shows_the_fill() -> None:
    """Brute force with numbers, one a channel, one image for all, one each; the mean colour is 0."""
    net, x = nets.plain(), nets.images()
    colours = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    picture, pictures = nets.images(1, seed=5), nets.images(2, seed=6)
    for fill, expected in (
        (None, 0.0),
        ("mean", 0.0),
        (0, 0.0),
        (1, 1.0),
        (-0.25, -0.25),
        ([0.5, -1.0, 2.0], colours[:, None, None]),
        (colours, colours[:, None, None]),
        (picture, picture[0]),
    ):
        brute = oracles.occlusion(net, x, score=_class_0, size=5, stride=3, fill=expected)
        assert torch.allclose(occlusion(net, x, target=0, size=5, stride=3, fill=fill), brute, **EXACT)
    own = [oracles.occlusion(net, x[i : i + 1], score=_class_0, size=5, stride=3, fill=pictures[i]) for i in range(2)]
    assert torch.allclose(occlusion(net, x, target=0, size=5, stride=3, fill=pictures), torch.cat(own), **EXACT)
    assert torch.equal(x, nets.images())


def test_noise_is_standard_normal_and_comes_from_the_generator() -> None:
    """Brute force with the generator's own next image; the same seed gives the same bits, another one others."""
    net, x = nets.plain(), nets.images(2)

    def seeded(seed: int) -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    noise = torch.randn(x.shape, generator=seeded(3)).double()
    own = [oracles.occlusion(net, x[i : i + 1], score=_class_0, size=5, stride=3, fill=noise[i]) for i in range(2)]
    asked: Any = {"target": 0, "size": 5, "stride": 3, "fill": "noise"}
    found = occlusion(net, x, generator=seeded(3), **asked)
    assert torch.allclose(found, torch.cat(own), **EXACT)
    assert torch.equal(found, occlusion(net, x, generator=seeded(3), **asked))
    assert not torch.allclose(found, occlusion(net, x, generator=seeded(4), **asked))


def test_blur_covers_with_the_image_itself_out_of_focus() -> None:
    net, x = nets.plain(), nets.images(2)
    soft = blur(x, 0.05 * 12)
    own = [oracles.occlusion(net, x[i : i + 1], score=_class_0, size=5, stride=3, fill=soft[i]) for i in range(2)]
    assert torch.allclose(occlusion(net, x, target=0, size=5, stride=3, fill="blur"), torch.cat(own), **EXACT)


@pytest.mark.parametrize(("h", "w"), [(9, 12), (1, 5), (3, 3)])
def test_blur_is_a_slow_gaussian_with_repeated_edges(h: int, w: int) -> None:
    """Closed form, in a loop: weights exp(-d^2 / 2 sigma^2), normalised, to 3 sigma; a flat image stays flat."""
    x, sigma = nets.images(1, 2, h, w), 1.2
    reach = range(-4, 5)
    kernel = [math.exp(-0.5 * (d / sigma) ** 2) for d in reach]
    expected = torch.zeros_like(x)
    for c in range(2):
        for i in range(h):
            for j in range(w):
                expected[0, c, i, j] = (
                    sum(
                        kernel[a + 4] * kernel[b + 4] * x[0, c, min(max(i + a, 0), h - 1), min(max(j + b, 0), w - 1)]
                        for a in reach
                        for b in reach
                    )
                    / sum(kernel) ** 2
                )
    assert torch.allclose(blur(x, sigma), expected, **EXACT)
    assert torch.allclose(blur(torch.ones_like(x), sigma), torch.ones_like(x), **EXACT)


# ---- batches, engines, interruption ----


@pytest.mark.parametrize("reading", READINGS)
def test_the_size_of_a_batch_changes_nothing(reading: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    one = occlusion(net, x, size=4, stride=3, reading=reading, batch=1)
    for batch in (2, 7, 32, 1000):
        assert torch.allclose(occlusion(net, x, size=4, stride=3, reading=reading, batch=batch), one, **EXACT)
    single = net.float(), x.float()
    one = occlusion(*single, size=4, stride=3, reading=reading, batch=1)
    seven = occlusion(*single, size=4, stride=3, reading=reading, batch=7)
    assert torch.allclose(one.double(), seven.double(), rtol=0, atol=1e-6)
    net.double()


class _Counting(nn.Module):
    """Remembers how many images went through at a time."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.sizes = inside, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.inside(x)


def test_no_more_images_than_a_batch_go_through_at_a_time() -> None:
    net = _Counting(nets.plain())
    occlusion(net, nets.images(2), target=0, size=4, stride=3, reading="score", batch=4)
    assert net.sizes == [4, 4, 4, 4] * 2  # (ceil((12 - 4) / 3) + 1)^2 positions
    net.sizes.clear()
    occlusion(net, nets.images(1), target=0, size=5, stride=2, batch=10)
    assert net.sizes == [10, 10, 5, 1]  # 25 positions, and the whole image


def test_each_step_is_told_and_the_last_is_all() -> None:
    told: list[tuple[int, int]] = []
    occlusion(nets.plain(), nets.images(2), size=4, stride=3, batch=5, on_step=lambda *step: told.append(step))
    assert told == [(5, 32), (10, 32), (15, 32), (16, 32), (21, 32), (26, 32), (31, 32), (32, 32)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_is_passed_on_and_leaves_nothing(error: type[BaseException]) -> None:
    """The autouse fixture is the oracle; a second call gives the same map as an undisturbed one."""
    net, x = nets.norm_dropout(train=True), nets.images(2)

    def interrupt(done: int, every: int) -> None:
        if done > every / 3:
            raise error

    with pytest.raises(error):
        occlusion(net, x, size=4, batch=2, on_step=interrupt)
    assert torch.equal(occlusion(net, x, size=4), occlusion(nets.norm_dropout(), x, size=4))
    assert torch.equal(x, nets.images(2))


@pytest.mark.parametrize("reading", READINGS)
def test_a_faster_engine_may_take_the_place_of_the_plain_one(reading: Any) -> None:
    """Oracle: the plain engine. The other one gets the question, one image, its filling, the squares and the batch."""
    net, x = nets.plain(), nets.images(2)
    got: list[tuple[Any, ...]] = []

    def slow(ask: Any, image: Tensor, filled: Tensor, at: Any, batch: int, on_step: Any) -> Tensor:
        got.append((image, filled, at, batch))
        found = []
        for number, (y0, x0, y1, x1) in enumerate(at.boxes.tolist()):
            mask = torch.zeros_like(image[:, :1])
            mask[:, :, y0:y1, x0:x1] = 1
            found.append(ask(image * (1 - mask) + filled * mask))
            on_step(number + 1, len(at.boxes))
        return torch.cat(found)

    told: list[tuple[int, int]] = []
    asked: Any = {"size": 5, "stride": 3, "reading": reading, "fill": 0.5, "batch": 9}
    found = occlusion(net, x, engine=slow, on_step=lambda *step: told.append(step), **asked)
    assert torch.allclose(found.double(), occlusion(net, x, engine=plain_engine, **asked).double(), **EXACT)
    assert [tuple(image.shape) for image, *_ in got] == [(1, 3, 12, 12)] * 2
    assert all(torch.equal(got[i][0], x[i : i + 1]) for i in range(2))
    assert all(bool((filled == 0.5).all()) and batch == 9 for _, filled, _, batch in got)
    assert told[-1] == (32, 32)


# ---- inputs and refusals ----


def test_size_and_stride_that_are_not_given_are_a_quarter_and_half_of_it() -> None:
    assert square_of(224, 300, None, None) == ((56, 56), (28, 28))
    assert square_of(224, 300, 15, None) == ((15, 15), (7, 7))
    assert square_of(224, 300, (10, 1), None) == ((10, 1), (5, 1))
    assert square_of(224, 300, (10, 1), 1) == ((10, 1), (1, 1))
    assert square_of(3, 3, None, None) == ((1, 1), (1, 1))
    net, x = nets.plain(), nets.images(1, h=16, w=13)
    assert torch.equal(occlusion(net, x), occlusion(net, x, size=3, stride=1))


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("reading", READINGS)
def test_frozen_parameters_and_modes_around_do_not_stop_it(surroundings: Callable[[], Any], reading: Any) -> None:
    net = nets.plain()
    expected = occlusion(net, nets.images(), reading=reading)
    with surroundings():
        for fill in (None, "blur"):
            found = occlusion(net, nets.images(), reading=reading, fill=fill)
            assert not found.requires_grad
            assert fill is not None or torch.equal(found, expected)
    assert torch.equal(occlusion(nets.frozen(), nets.images(), reading=reading), expected)


def test_train_mode_neither_mixes_the_batch_nor_drops_units() -> None:
    x = nets.images(3)
    assert torch.equal(occlusion(nets.norm_dropout(train=True), x), occlusion(nets.norm_dropout(), x))


@pytest.mark.parametrize("fill", [None, "blur", 0.5])
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 2e-2), (torch.bfloat16, 2e-1)])
def test_half_precision_is_near_single_and_comes_back_as_single(dtype: torch.dtype, share: float, fill: Any) -> None:
    net, x = nets.plain(dtype=torch.float32), nets.images(dtype=torch.float32)
    exact = occlusion(net, x, target=1, fill=fill)
    found = [occlusion(nets.plain(dtype=dtype), x.to(dtype), target=1, fill=fill)]
    with torch.autocast("cpu", dtype=dtype):
        found.append(occlusion(net, x, target=1, fill=fill))
    for values in found:
        assert values.dtype == exact.dtype == torch.float32
        assert (values - exact).abs().max() <= share * exact.abs().max()


@pytest.mark.parametrize(("factory", "c"), [(nets.grey, 1), (nets.four_channel, 4)])
def test_any_count_of_channels(factory: Callable[..., nn.Module], c: int) -> None:
    net, x = factory(), nets.images(2, c, 9, 14)
    fill = torch.arange(c, dtype=torch.float64)
    expected = oracles.occlusion(net, x, score=_class_0, size=4, stride=3, fill=fill[:, None, None])
    assert torch.allclose(occlusion(net, x, target=0, size=4, stride=3, fill=fill.tolist()), expected, **EXACT)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 4, "stride": 5}, r"stride 5 with a square of 4 px: take 1 to 4, or pixels go unseen"),
        ({"size": (4, 8), "stride": 5}, "stride 5 with a square of 4 px"),
        ({"size": 4, "stride": 0}, "stride 0"),
        ({"size": 4, "stride": -1}, "stride -1"),
        ({"size": 13}, "square of 13 px does not fit an image 12 px high"),
        ({"size": (12, 16)}, "square of 16 px does not fit an image 15 px wide"),
        ({"size": 0}, r"0 px does not fit .*\(1 to 12\)"),
        ({"batch": 0}, "batch=0"),
        ({"fill": [1.0, 2.0]}, r"fill of shape \(2,\) for images \(2, 3, 12, 15\)"),
        ({"fill": torch.zeros(2, 3, 12, 14)}, r"fill of shape \(2, 3, 12, 14\)"),
        ({"fill": torch.zeros(3, 3, 12, 15)}, r"fill of shape \(3, 3, 12, 15\)"),
        ({"target": 5}, "class 5 .* 5 classes"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"target": torch.tensor([1])}, "1 targets for 2 images"),
        ({"target": "convv2:1"}, "did you mean 'conv2'"),
        ({"score": "softmax"}, "neither 'logit' nor 'probability'"),
        ({"wrt": 1, "x": (nets.images(),)}, "no input 1"),
        ({"x": nets.images()[0]}, r"shape \(3, 12, 12\); it must be \(b, c, H, W\)"),
        ({"x": torch.zeros(1, 3, 12, 12, dtype=torch.uint8)}, r"torch\.uint8"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_pass(options: dict[str, Any], says: str) -> None:
    net = _Counting(nets.plain())
    x = options.get("x", nets.images(2, h=12, w=15))
    with pytest.raises(ConvscopeError, match=says):
        occlusion(net.inside if "target" in options else net, x, **{k: v for k, v in options.items() if k != "x"})
    assert net.sizes == [] or "score" in options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reading": "pixel"}, "reading='pixel' is none of 'pixels'"),
        ({"fill": "black"}, "fill='black' is none of 'mean'"),
    ],
)
def test_an_unknown_word_is_refused(options: dict[str, Any], says: str) -> None:
    unchecked = inspect.unwrap(occlusion if "reading" in options else filling)
    arguments = (nets.plain(), nets.images()) if "reading" in options else (nets.images(), options.pop("fill"), None)
    with pytest.raises(ConvscopeError, match=says):
        unchecked(*arguments, **options)


@pytest.mark.parametrize("fill", [("a", "b"), {}, [[1.0], [2.0, 3.0]]])
def test_what_is_no_number_is_refused(fill: Any) -> None:
    unchecked = inspect.unwrap(filling)  # the type check of the tests would refuse it first
    with pytest.raises(ConvscopeError, match="is no number, one a channel, image or word"):
        unchecked(nets.images(), fill)


def test_an_array_is_a_filling_too() -> None:
    x, colour = nets.images(), np.array([0.5, -1.0, 2.0])
    assert torch.equal(inspect.unwrap(filling)(x, colour), filling(x, colour.tolist()))
