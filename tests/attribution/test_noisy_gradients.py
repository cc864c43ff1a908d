"""SmoothGrad and VarGrad against slow loops over the samples, closed forms, and the gradient itself."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import gradient, reduce_channels, smooth_grad, var_grad
from convscope.attribution.noisy_gradients import RunningMoments, draw_noise, noise_sigma
from convscope.errors import ConvscopeError
from tests import nets, oracles
from tests.attribution.test_gradients import autograd, one_linear_layer, words_then_image

EXACT = {"rtol": 0, "atol": 1e-12}
BOTH = pytest.mark.parametrize("method", [smooth_grad, var_grad])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow(
    slope: Callable[[Tensor], Tensor], x: Tensor, *, samples: int = 25, noise: float = 0.15, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Mean and variance, one image and one sample at a time; ``slope``: (1, c, H, W) -> dS/dx."""
    means, variances = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(len(x)):
        generator = seeded(seed)  # the same draws for every image
        sigma = noise * (max(x[i].flatten().tolist()) - min(x[i].flatten().tolist()))
        slopes = []
        for _ in range(samples):
            drawn = torch.randn(x.shape[1:], generator=generator).to(x)
            slopes.append(slope(x[i : i + 1] + sigma * drawn)[0])
        means[i] = sum(slopes) / samples
        variances[i] = sum((one - means[i]) ** 2 for one in slopes) / samples
    return means, variances


# ---- the definition ----


@pytest.mark.parametrize("factory", [nets.plain, nets.overlapping_pool, nets.strided, nets.gap_linear])
def test_mean_and_variance_are_a_slow_loop(factory: Callable[..., nn.Sequential]) -> None:
    """Replica: hand-written backward passes at x + N(0, sigma) with each image's own sigma; nothing is squared."""
    net, x = factory(), nets.images(2, h=9, w=11) * torch.tensor([1.0, 4.0])[:, None, None, None]
    mean, variance = slow(lambda x: oracles.gradient(net, x, 3), x, samples=7, noise=0.2)
    assert torch.allclose(smooth_grad(net, x, target=3, samples=7, noise=0.2), mean, **EXACT)
    assert torch.allclose(var_grad(net, x, target=3, samples=7, noise=0.2), variance, **EXACT)
    assert not torch.allclose(mean, gradient(net, x, target=3))  # no sample, the last one neither, is noiseless


@pytest.mark.parametrize(
    "factory",
    [*nets.SAME_WEIGHTS, nets.residual, nets.skip, nets.view_write, nets.frozen, nets.norm_dropout, nets.shared_conv],
)
def test_hard_nets_are_a_slow_loop(factory: Callable[..., nn.Module]) -> None:
    net, x = factory(), nets.images()
    mean, variance = slow(lambda x: autograd(lambda x: net(x)[:, 1], x), x, samples=4)
    assert torch.allclose(smooth_grad(net, x, target=1, samples=4), mean, **EXACT)
    assert torch.allclose(var_grad(net, x, target=1, samples=4), variance, **EXACT)


def test_the_defaults_are_the_papers_25_samples_at_15_percent() -> None:
    net, x = nets.plain(), nets.images(1)
    mean, variance = slow(lambda x: oracles.gradient(net, x, 0), x, samples=25, noise=0.15)
    assert torch.allclose(smooth_grad(net, x, target=0), mean, **EXACT)
    assert torch.allclose(var_grad(net, x, target=0), variance, **EXACT)


def test_a_linear_net_has_its_weights_and_no_variance() -> None:
    """Closed form: every sample's gradient is W_k."""
    net, x = one_linear_layer(), nets.images(2, h=6, w=6)
    weights = net[1].weight.detach()[2].reshape(1, 3, 6, 6).expand(2, -1, -1, -1)
    assert torch.allclose(smooth_grad(net, x, target=2, noise=3.0), weights, **EXACT)
    assert var_grad(net, x, target=2, noise=3.0).abs().max() < 1e-28


class _Quadratic(nn.Module):
    """S = sum a x^2 / 2, so that dS/dx = a x."""

    def forward(self, x: Tensor) -> Tensor:
        a = torch.arange(1, x[0].numel() + 1, dtype=x.dtype).reshape(x.shape[1:]) / 10
        return (a * x**2 / 2).sum((1, 2, 3))[:, None]


def test_a_quadratic_net_shows_the_noise_itself() -> None:
    """Closed form: g_j = a (x + sigma n_j): mean a (x + sigma mean n), variance a^2 sigma^2 mean (n - mean n)^2."""
    net, x = _Quadratic(), nets.images(1, 2, 3, 4)
    a = torch.arange(1, 25, dtype=x.dtype).reshape(1, 2, 3, 4) / 10
    sigma = 0.15 * (x.max() - x.min())
    drawn = torch.stack([torch.randn(2, 3, 4, generator=g) for g in [seeded(5)] for _ in range(25)]).to(x)
    mean, variance = a * (x + sigma * drawn.mean(0)), (a * sigma) ** 2 * drawn.var(0, correction=0)
    assert torch.allclose(smooth_grad(net, x, target=0, generator=seeded(5)), mean, **EXACT)
    assert torch.allclose(var_grad(net, x, target=0, generator=seeded(5)), variance, **EXACT)


def test_many_samples_come_to_the_expected_value() -> None:
    """Statistics: the mean of N gradients a (x + sigma n) is near a x, the variance near (a sigma)^2."""
    net, x = _Quadratic(), nets.images(1, 1, 4, 4)
    a, sigma = torch.arange(1, 17, dtype=x.dtype).reshape(1, 1, 4, 4) / 10, 0.15 * float(x.max() - x.min())
    found = smooth_grad(net, x, target=0, samples=4000, batch=500)
    assert ((found - a * x).abs() < 5 * a * sigma / 4000**0.5).all()
    spread = var_grad(net, x, target=0, samples=4000, batch=500) / (a * sigma) ** 2
    assert ((spread - 1).abs() < 5 * (2 / 4000) ** 0.5).all()


# ---- sigma ----


def test_no_noise_is_the_gradient_and_no_variance() -> None:
    net, x = nets.plain(), nets.images()
    single = torch.cat([gradient(net, x[i : i + 1], target=1) for i in range(2)])
    assert torch.equal(smooth_grad(net, x, target=1, noise=0.0, batch=3), single)
    assert not var_grad(net, x, target=1, noise=0.0, batch=3).any()


def test_a_constant_image_has_the_gradient_and_no_variance() -> None:
    """Max = min: sigma is 0, for that image alone."""
    net, x = nets.plain(), nets.images()
    x[0] = 0.7
    mean, variance = slow(lambda x: oracles.gradient(net, x, 1), x, samples=5)
    assert torch.equal(smooth_grad(net, x, target=1, samples=5)[:1], gradient(net, x[:1], target=1))
    assert torch.allclose(smooth_grad(net, x, target=1, samples=5), mean, **EXACT)
    assert not var_grad(net, x, target=1, samples=5)[0].any()
    assert torch.allclose(var_grad(net, x, target=1, samples=5), variance, **EXACT)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (10.0, 0.0), (0.01, 3.0)])
def test_sigma_is_a_share_of_an_images_own_range(scale: float, shift: float) -> None:
    image = nets.images(1) * scale + shift
    assert noise_sigma(image, 0.15) == pytest.approx(0.15 * (image.max() - image.min()).item())


# ---- draws ----


@BOTH
@pytest.mark.parametrize("batch", [1, 3, 7, 32])
def test_the_size_of_a_pass_changes_nothing(method: Callable[..., Tensor], batch: int) -> None:
    net, x = nets.norm_dropout(), nets.images(3)
    assert torch.allclose(method(net, x, batch=batch), method(net, x, batch=25), **EXACT)


def test_draws_are_the_same_however_many_at_a_time() -> None:
    image, one, three = nets.images(1, h=5, w=3), seeded(), seeded()
    singly = torch.cat([draw_noise(1, image, one) for _ in range(7)])
    assert torch.equal(torch.cat([draw_noise(n, image, three) for n in (3, 3, 1)]), singly)
    assert singly.std() == pytest.approx(1, abs=0.1)


@BOTH
def test_a_batch_is_its_images_one_by_one(method: Callable[..., Tensor]) -> None:
    """Every image gets the same draws, so that its neighbours do not matter."""
    net, x = nets.residual(), nets.images(4) * torch.tensor([1.0, 3.0, 0.1, 10.0])[:, None, None, None]
    single = torch.cat([method(net, x[i : i + 1], generator=seeded(3)) for i in range(4)])
    assert torch.allclose(method(net, x, generator=seeded(3)), single, **EXACT)


@BOTH
def test_the_seed_decides(method: Callable[..., Tensor]) -> None:
    net, x = nets.plain(), nets.images()
    assert torch.equal(method(net, x, generator=seeded(7)), method(net, x, generator=seeded(7)))
    assert not torch.allclose(method(net, x, generator=seeded(7)), method(net, x, generator=seeded(8)))
    assert torch.equal(method(net, x), method(net, x, generator=seeded(0)))
    one = seeded(7)
    assert not torch.allclose(method(net, x, generator=one), method(net, x, generator=one))  # it goes on


# ---- what is explained ----


class _Counting(nn.Module):
    """How many images each pass saw."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.seen = inside, list[int]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return self.inside(x)


@BOTH
@pytest.mark.parametrize("batch", [1, 4, 32])
def test_no_pass_sees_more_than_a_batch(method: Callable[..., Tensor], batch: int) -> None:
    net, told = _Counting(nets.plain()), list[tuple[int, int]]()
    method(
        net, nets.images(3), target=1, batch=batch, samples=10, on_step=lambda done, every: told.append((done, every))
    )
    assert max(net.seen) == min(batch, 10)
    assert sum(net.seen) == 30
    assert told[-1] == (30, 30)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {every for _, every in told} == {30}


@BOTH
def test_the_class_is_decided_on_the_image_without_noise(method: Callable[..., Tensor]) -> None:
    """Many copies are named otherwise; the explained class stays."""
    net, x = nets.mlp(), nets.images(4)
    top = net(x).argmax(1)
    assert torch.equal(method(net, x), method(net, x, target=top))
    drawn = draw_noise(25, x[:1], seeded()).to(x)
    for image, own in zip(x.split(1), top, strict=True):
        assert (net(image + noise_sigma(image, 0.15) * drawn).argmax(1) != own).sum() >= 5


@BOTH
@pytest.mark.parametrize("one_each", [[1, 4], torch.tensor([1, 4]), ["conv2:1", 4], ["conv2:1@2,3", "relu1:0"]])
def test_one_target_each_is_each_image_with_its_own(method: Callable[..., Tensor], one_each: Any) -> None:
    net, x = nets.plain(), nets.images(2)
    single = torch.cat([method(net, x[i : i + 1], target=one_each[i]) for i in range(2)])
    assert torch.allclose(method(net, x, target=one_each), single, **EXACT)


def test_units_callables_and_probabilities_are_a_slow_loop() -> None:
    net, x = nets.plain(), nets.images()
    cases: list[tuple[dict[str, Any], Callable[[Tensor], Tensor]]] = [
        ({"target": "conv2:3"}, lambda x: net[:4](x)[:, 3].mean((1, 2))),
        ({"target": lambda out: out[:, 1] - out[:, 2]}, lambda x: net(x)[:, 1] - net(x)[:, 2]),
        ({"target": 2, "score": "probability"}, lambda x: net(x).softmax(1)[:, 2]),
    ]
    for asked, score in cases:
        mean, variance = slow(lambda x, score=score: autograd(score, x), x, samples=4)
        assert torch.allclose(smooth_grad(net, x, samples=4, **asked), mean, **EXACT)
        assert torch.allclose(var_grad(net, x, samples=4, **asked), variance, **EXACT)


@pytest.mark.parametrize("how", ["max-abs", "sum", "positive", "negative"])
def test_channels_are_reduced_after_the_mean(how: Any) -> None:
    """The mean of magnitudes would be another method."""
    net, x = nets.plain(), nets.images()
    assert torch.equal(smooth_grad(net, x, reduce=how), reduce_channels(smooth_grad(net, x), how))
    assert torch.equal(var_grad(net, x, reduce=how), reduce_channels(var_grad(net, x), how))


@BOTH
def test_other_inputs_repeat_without_noise(method: Callable[..., Tensor]) -> None:
    """Oracle: the slow loop with the words held fixed; they are integers, which noise would not go into."""
    net, image, words = words_then_image(), nets.images(), torch.tensor([[1, 2, 3], [0, 6, 6]])

    def of(i: int) -> Tensor:
        def slope(x: Tensor) -> Tensor:
            return autograd(lambda x: net(words[i : i + 1], x)[:, 1], x)

        mean, variance = slow(slope, image[i : i + 1], samples=5)
        return mean if method is smooth_grad else variance

    expected = torch.cat([of(0), of(1)])
    assert torch.allclose(method(net, (words, image), wrt=1, target=1, samples=5, batch=2), expected, **EXACT)
    found = method(net, {"words": words, "image": image}, wrt="image", target=1, samples=5)
    assert torch.allclose(found, expected, **EXACT)


# ---- any surroundings, bad input ----


@BOTH
def test_modes_around_do_not_stop_it(method: Callable[..., Tensor]) -> None:
    """Oracle: the same call outside, the same bits; train mode is evaluation mode."""
    net, x = nets.norm_dropout(), nets.images()
    expected = method(net, x)
    assert torch.equal(method(nets.norm_dropout(train=True), x), expected)
    with torch.no_grad():
        assert torch.equal(method(net, x), expected)
    with torch.inference_mode():  # x is made inside: an inference tensor
        found = method(net, nets.images(), reduce="sum")
    assert torch.equal(found, expected.sum(1))
    assert not found.is_inference()


@BOTH
@pytest.mark.parametrize(("dtype", "share"), [(torch.float16, 1e-1), (torch.bfloat16, 3e-1)])
def test_half_precision_is_near_single_and_comes_back_as_single(
    method: Callable[..., Tensor], dtype: torch.dtype, share: float
) -> None:
    x = nets.images(dtype=torch.float32)
    exact = method(nets.gap_linear(dtype=torch.float32), x, target=1)
    found = method(nets.gap_linear(dtype=dtype), x.to(dtype), target=1)
    assert exact.dtype == found.dtype == torch.float32
    assert (found - exact).abs().max() <= share * exact.abs().max()
    assert found.any()


@BOTH
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"samples": 0}, "samples=0:.* at least"),
        ({"noise": -0.1}, "noise=-0.1: give a share"),
        ({"noise": float("nan")}, "noise=nan: give a share"),
        ({"noise": float("inf")}, "noise=inf: give a share"),
        ({"batch": 0}, "batch=0: at least one image"),
        ({"target": 99}, "class 99"),
        ({"target": [1, 2, 3]}, "3 targets for 2 images"),
        ({"score": "softmax"}, "neither 'logit' nor 'probability'"),
    ],
)
def test_what_cannot_be_is_refused(method: Callable[..., Tensor], options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        method(nets.plain(), nets.images(), **options)


@BOTH
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_without_a_range_is_refused(method: Callable[..., Tensor], value: float) -> None:
    """A ReLU's gradient at NaN is finite: the map would look like any other."""
    x = nets.images(2)
    x[1, 0, 3, 4] = value
    with pytest.raises(ConvscopeError, match="not finite"):
        method(nets.plain(), x, target=1)


def test_one_sample_has_a_mean_and_no_variance() -> None:
    net, x = nets.plain(), nets.images()
    mean, _ = slow(lambda x: oracles.gradient(net, x, 1), x, samples=1)
    assert torch.allclose(smooth_grad(net, x, target=1, samples=1), mean, **EXACT)
    with pytest.raises(ConvscopeError, match="samples=1: a variance needs at least two"):
        var_grad(net, x, target=1, samples=1)


@BOTH
def test_a_net_without_a_graph_is_refused(method: Callable[..., Tensor]) -> None:
    with pytest.raises(ConvscopeError, match="turns gradients off"):
        method(nets.no_grad(), nets.images())


def test_a_net_that_raises_is_given_back_as_it_was() -> None:
    """Oracle: the autouse fixture; and the same call works afterwards."""
    net = nets.raises_for(lambda x: bool((x > 50).any()))
    with pytest.raises(nets.OutOfOrder):
        smooth_grad(net, nets.images() + 100)
    expected = smooth_grad(nets.raises_for(lambda x: False), nets.images())
    assert torch.equal(smooth_grad(net, nets.images()), expected)


# ---- running moments ----


@BOTH
def test_torchs_default_device_changes_nothing(method: Callable[..., Tensor]) -> None:
    net, x = nets.plain(), nets.images()
    expected = method(net, x, target=1)
    with torch.device("meta"):
        assert torch.equal(method(net, x, target=1), expected)


def test_running_moments_are_two_passes() -> None:
    values = nets.images(50, 2, 3, 3) + 1e6  # sums of squares would lose four digits here
    moments = RunningMoments()
    for part in values.split(7):
        moments.update(part)
    assert torch.allclose(moments.mean, values.mean(0), rtol=1e-14, atol=0)
    assert torch.allclose(moments.variance, values.var(0, correction=0), rtol=1e-8, atol=0)


def test_equal_values_have_no_variance_at_all() -> None:
    moments = RunningMoments()
    moments.update(torch.full((25, 4), 0.1))
    assert torch.equal(moments.mean, torch.full((4,), 0.1))
    assert not moments.variance.any()
