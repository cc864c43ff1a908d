"""DeepDream broken off and taken up again, on hard networks, without gradients, and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.synthesis.dreaming import (
    DreamError,
    DreamStep,
    dream_steps,
    octave_sizes,
)
from convscope.synthesis.objectives import Objective, layer, logit, unit
from tests import nets
from tests.synthesis.dreams import photos, run, seeded, starts_and_ends, to_input
from tests.untouched import Untouched, watch

# ---- breaks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 2, 4, 5, 9, 14])
def test_a_dream_that_was_broken_off_goes_on_to_the_same_bits(at: int) -> None:
    """From any step, over a file, with a generator in whatever state it is."""
    net, objective = nets.plain(), layer("conv2", 2)
    whole = run(net, objective, photos(2))
    state = load(save(whole[at].state()))
    rest = run(net, objective, photos(2), state=state, generator=seeded(99))
    assert len(rest) == len(whole) - at
    for one, other in zip(rest, whole[at:], strict=True):
        assert (one.octave, one.step) == (other.octave, other.step)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.scores, other.scores)


def test_a_state_of_another_dream_is_refused() -> None:
    state = run(nets.plain(), layer("conv2", 2), photos())[7].state()
    with pytest.raises(ConvscopeError, match=r"step 2 of octave 2 .* is of another dream"):
        run(nets.plain(), layer("conv2", 2), photos(1, 40, 40), state=state)


# ---- networks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.frozen])
def test_every_way_to_write_a_relu_gives_the_same_dream(
    factory: Callable[..., nn.Module], untouched: Untouched
) -> None:
    objective = layer("conv2", 2) + 0.5 * layer("linear1", 2)
    got, expected = (run(net, objective, photos())[-1].image for net in (factory(), nets.plain()))
    assert torch.allclose(got, expected, rtol=0, atol=1e-9)
    untouched.check()


def test_a_surrounding_inference_mode_and_train_mode_change_nothing() -> None:
    net = watch(nets.norm_dropout(train=True))
    expected = run(nets.norm_dropout(), logit(1), photos(2))[-1].image
    steps = dream_steps(
        net, logit(1), photos(2), to_input=to_input, sizes=octave_sizes((23, 30), 3), steps=4, jitter=5,
        generator=seeded(),
    )  # fmt: skip
    with torch.inference_mode():
        next(steps)
        assert net.training
    with torch.no_grad():
        assert torch.equal(list(steps)[-1].image, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_dream(dtype: torch.dtype) -> None:
    steps = run(nets.plain(dtype=dtype), layer("conv2", 2), photos(dtype=torch.float32), steps=8, jitter=0,
                to_input=lambda image: to_input(image).to(dtype))  # fmt: skip
    for before, after in starts_and_ends(steps):
        assert (after > before).all()
    assert steps[-1].image.dtype == torch.float32


def test_shut_rectifiers_let_the_gradient_through_and_what_is_deaf_leaves_the_picture() -> None:
    """A unit far below zero behind its rectifier. Oracle: the same unit before the rectifier, of the same gradient."""
    net = nets.plain()
    with torch.no_grad():
        net.get_submodule("conv2").bias[3] = -50.0
    watch(net)
    revived = run(net, unit("relu2:3"), photos(), 1)
    before = run(net, unit("conv2:3"), photos(), 1)
    assert revived[0].scores.item() == 0
    assert torch.allclose(revived[-1].image, before[-1].image, rtol=0, atol=1e-9)
    deaf = Objective((), True, lambda _, z: z[:, 0] * 0)
    assert torch.equal(run(net, deaf, photos())[-1].image, photos())


def test_nan_stops_with_the_step_and_the_last_good_picture() -> None:
    calls: list[int] = []

    def spoilt(_activations: object, output: Tensor) -> Tensor:
        calls.append(0)
        return output[:, 0] * (math.nan if len(calls) == 9 else 1.0)

    seen: list[DreamStep] = []
    steps = dream_steps(
        nets.plain(), Objective((), True, spoilt), photos(), to_input=to_input, sizes=octave_sizes((23, 30), 2),
        steps=4, jitter=0, generator=seeded(),
    )  # fmt: skip
    with pytest.raises(
        DreamError, match=r"nan for picture 0 at step 1 of octave 2; the last .* step 0 of octave 2"
    ) as caught:
        seen.extend(steps)
    assert caught.value.last is seen[-1]
    assert (seen[-1].octave, seen[-1].step) == (1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": -1}, "steps=-1"),
        ({"rate": 0}, "rate=0"),
        ({"rate": math.inf}, "rate=inf"),
        ({"jitter": -3}, "jitter=-3"),
        ({"sizes": [(10, 10)]}, "the last is its own"),
        ({"sizes": []}, "the last is its own"),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_first_step(options: dict[str, Any], message: str) -> None:
    given = {"to_input": to_input, "generator": seeded(), "sizes": [(23, 30)]} | options
    with pytest.raises(ConvscopeError, match=message):
        dream_steps(nets.plain(), layer("conv2", 2), photos(), **given)


@pytest.mark.parametrize(("octaves", "scale"), [(0, 1.4), (3, 1.0), (3, 0.5), (3, math.nan), (3, math.inf)])
def test_octaves_that_do_not_grow_are_refused(octaves: int, scale: float) -> None:
    with pytest.raises(ConvscopeError, match=f"octaves={octaves}, octave_scale={scale}"):
        octave_sizes((30, 30), octaves, scale)


# ---- real networks -------------------------------------------------------------------------------------------


def test_squeezenet_dreams_higher_in_every_octave(squeezenet: nn.Module, shared) -> None:
    from convscope.network.pictures import read_image

    file = sorted((shared / "data" / "imagenet_photos").iterdir())[7]
    picture = read_image(file).resize((160, 120))
    photo = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for name in ("features.5", "features.10"):
        steps = run(squeezenet, layer(name, 2), photo, 3, steps=6, jitter=32, to_input=lambda x: (x - mean) / std)
        for before, after in starts_and_ends(steps):
            assert after > 1.2 * before
