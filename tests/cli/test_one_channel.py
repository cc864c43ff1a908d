"""A network of one channel, loaded by the folder of its training, and the digits in the box, through the commands.

Oracles: the network called by hand on pixels taken from the digits by hand.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import Result

import convscope as cs
from convscope.cli.sources import photos_at
from convscope.network.digit_pictures import digit_ids, digit_image
from convscope.network.preprocessing import Preprocess
from convscope.network.small_nets import small_net
from convscope.store.checked_tensors import write_checked
from convscope.store.run_folder import WEIGHTS, Training, begin_training, finish_training, writing_run

Cli = Callable[..., Result]
MEAN, STD = 0.3, 0.35


@pytest.fixture(scope="module")
def module() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return small_net("digits").build(10).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def run(module: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    entry = {"kind": "small", "name": "digits", "classes": 10, "channels": 1, "size": 28}
    seen = asdict(Preprocess(28, 28, (MEAN,), (STD,)))
    with writing_run(tmp_path_factory.mktemp("trained") / "grey.run") as folder:
        begin_training(folder, Training(network=entry, classes=tuple("0123456789"), preprocess=seen))
        tensors = {name: values.numpy() for name, values in module.state_dict().items()}
        write_checked(folder / WEIGHTS, "weights", {"epoch": 1}, tensors)
        finish_training(folder)
        return folder


def inputs(*names: str) -> Tensor:
    """By hand: the pixels as they are, (v / 255 - mean) / std."""
    pixels = np.stack([np.asarray(digit_image(name), np.float32) for name in names])
    return torch.from_numpy((pixels / 255 - MEAN) / STD)[:, None]


FIRST = {digit: next(n for n in digit_ids("held-out") if n[0] == str(digit)) for digit in range(10)}


def test_predict_over_the_held_out_part_is_what_the_network_says(cli: Cli, run: Path, module: nn.Module) -> None:
    """Classes are read off the ids as off class folders; the accuracy is a count by hand."""
    names = digit_ids("held-out")
    said = module(inputs(*names)).argmax(1).tolist()
    rows = json.loads(cli("predict", "bundled:digits/held-out", "--model", run, "--top", 1, "--json").stdout)
    assert [row["image"] for row in rows] == list(names)
    assert [row["top"][0]["class"] for row in rows] == [str(k) for k in said]
    assert [row["expected"] for row in rows] == [name[0] for name in names]
    assert [row["ok"] for row in rows] == [int(name[0]) == k for name, k in zip(names, said, strict=True)]


@pytest.mark.parametrize("given", ["bundled:digits:7", f"bundled:digits/{FIRST[7]}"])
def test_one_digit_is_named_by_its_class_and_place(cli: Cli, run: Path, module: nn.Module, given: str) -> None:
    (row,) = json.loads(cli("predict", given, "--model", run, "--top", 10, "--json").stdout)
    assert row["image"] == f"digit-{FIRST[7].replace('/', '-')}"
    probabilities = {each["class"]: each["probability"] for each in row["top"]}
    expected = module(inputs(FIRST[7])).softmax(1)[0]
    np.testing.assert_allclose([probabilities[str(k)] for k in range(10)], expected, rtol=1e-5)


def test_explain_writes_the_gradient_of_the_one_channel(cli: Cli, run: Path, module: nn.Module) -> None:
    """Oracle: autograd."""
    (file,) = cli(
        "explain", "bundled:digits:3", "--model", run, "--method", "gradient", "--target", "8", "--save", "npz"
    ).stdout.split()
    x = inputs(FIRST[3]).requires_grad_()
    (expected,) = torch.autograd.grad(module(x)[0, 8], x)
    np.testing.assert_allclose(np.load(file)["gradient"].squeeze(), expected[0, 0], rtol=1e-4, atol=1e-7)


def test_units_are_switched_off_in_one_digit_and_over_many(cli: Cli, run: Path, module: nn.Module) -> None:
    """Oracle: the network with the unit's weights and bias at zero, before its ReLU."""
    with torch.random.fork_rng(devices=[]):
        without = small_net("digits").build(10).eval().requires_grad_(False)
    without.load_state_dict(module.state_dict())
    without.get_parameter("conv2.weight")[5] = 0
    without.get_parameter("conv2.bias")[5] = 0
    names = digit_ids("held-out")
    x, digits = inputs(*names), torch.tensor([int(name[0]) for name in names])
    drop = (module(x) - without(x)).gather(1, digits[:, None]).mean()
    asked = ("--unit", "conv2:5", "--model", run, "--save", "npz", "--json")
    over = json.loads(cli("ablate", "bundled:digits/held-out", *asked).stdout)
    assert over["units"][0]["correct"] == int((without(x).argmax(1) == digits).sum())
    assert over["units"][0]["logit_drop"] == pytest.approx(float(drop), rel=1e-3)
    assert Path("convscope-out/digits-held-out.ablate.conv2~5.npz").is_file()
    one = cli("ablate", "bundled:digits:3", *asked[:-1]).output
    after = without(inputs(FIRST[3])).softmax(1)[0]
    answer = int(module(inputs(FIRST[3])).argmax())
    assert f"→ {100 * float(after[answer]):.1f}%" in one


def test_a_survey_of_the_digits_finds_the_strongest_answers(cli: Cli, run: Path, module: nn.Module) -> None:
    """Oracle: the largest value of each map, by hand; the atlas is called as the data are."""
    cli("survey", "bundled:digits/held-out", "--model", run, "--layers", "conv3")
    atlas = cs.open_atlas("digits-held-out.atlas")
    names = digit_ids("held-out")
    peaks = module[:7](inputs(*names))[:, 4].amax((1, 2))  # conv1 relu1 pool1 conv2 relu2 pool2 conv3
    value, name, _, _ = atlas.exemplars("conv3:4")[0]
    assert name == names[int(peaks.argmax())]
    assert value == pytest.approx(float(peaks.max()), rel=1e-5)
    assert atlas.about["data"] == "bundled:digits/held-out"
    cli("unit", "digits-held-out.atlas", "conv3:4")  # finds the photos again by that


@pytest.mark.parametrize("image", ["natural", "fourier", "pixels", "maco"])
def test_pictures_that_are_made_have_one_channel_and_the_score_they_say(
    run: Path, module: nn.Module, image: str
) -> None:
    net = cs.load(str(run), device="cpu")
    made = cs.visualize(net, ["dense2:7"], steps=3, image=image, jitter=0)
    values = torch.as_tensor(made.values)
    assert values.shape[:2] == (1, 1)
    with torch.no_grad():
        score = module((values - MEAN) / STD)[0, 7]
    assert float(made.scores[0]) == pytest.approx(float(score), rel=1e-3, abs=1e-3)


def test_dreams_and_inversions_are_grey_and_as_large_as_the_digit(run: Path) -> None:
    """What is written is grey: all three channels of the drawing's pictures agree, as the digit's do."""
    net = cs.load(str(run), device="cpu")
    dreamt = cs.dream(net, "bundled:digits:9", layer="conv3", steps=2)
    inverted = cs.invert(net, "bundled:digits:9", layer="conv2", steps=3)
    assert torch.as_tensor(dreamt.values).squeeze().shape == (28, 28)
    assert torch.as_tensor(inverted.values).squeeze().shape == (28, 28)


def test_many_digits_are_read_as_a_folder_and_one_as_a_picture() -> None:
    many, one = photos_at(Path("bundled:digits/train")), photos_at(Path("bundled:digits:0"))
    assert many.is_folder
    assert list(many.names) == list(digit_ids("train"))
    assert not one.is_folder
    for photos, name, id_ in ((many, many.names[5], many.names[5]), (one, one.names[0], FIRST[0])):
        image = photos.read(name)
        assert image is not None
        assert image.convert("L").tobytes() == digit_image(id_).tobytes()


def test_a_misspelt_part_is_refused_before_anything_is_loaded(cli: Cli) -> None:
    result = cli("predict", "bundled:digits/held_out", "--model", "no.run", code=2)
    assert "no 'bundled:digits/held_out' in the box; did you mean 'bundled:digits/held-out'" in result.stderr
