"""``convscope dream``. The dreams are proved in ``tests/synthesis`` and ``tests/optimised``; here the right ones."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.synthesis import dreaming

QUICK = ("--octaves", 2, "--steps", 2, "--side", 40)
SAME: dict[str, Any] = {"octaves": 2, "steps": 2, "side": 40}
KIND = "octaves-2+steps-2+side-40"
NET = "net.py~make"  # in the names of files, since it is not the default network


@pytest.fixture(scope="module")
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


def written() -> list[str]:
    return sorted(p.name for p in Path("convscope-out").iterdir())


def saved(name: str) -> np.ndarray:
    with np.load(Path("convscope-out") / name) as archive:
        return archive["values"]


def test_the_default_is_the_bundled_networks_layer_really_drawn(cli, photos: Path) -> None:
    result = cli("dream", photos / "cat.jpg", "--side", 48, "--steps", 2, "--bare")
    names = [f"cat.features.13.dream.steps-2+side-48{bare}.png" for bare in ("", ".bare")]
    assert result.stdout == "".join(f"convscope-out/{name}\n" for name in names)
    assert result.stderr == ""
    assert written() == sorted(names)
    found = cs.dream(cs.load(device="cpu"), photos / "cat.jpg", steps=2, side=48)
    with Image.open(Path("convscope-out") / names[1]) as bare:
        assert np.array_equal(np.array(bare), np.array(found.image()))


def test_several_layers_are_a_dream_each(cli, photos: Path, net: str, small: cs.Network) -> None:
    args = ("--model", net, "--layer", "0,2", "--save", "npz", "--json", *QUICK)
    entries = json.loads(cli("dream", photos / "cat.jpg", *args).stdout)
    assert [entry["objective"] for entry in entries] == ["0", "2"]
    for layer, entry in zip(("0", "2"), entries, strict=True):
        expected = cs.dream(small, photos / "cat.jpg", layer, **SAME)
        assert entry["files"] == [f"convscope-out/cat.{layer}.dream.{KIND}.{NET}.npz"]
        assert entry == {"image": "cat.jpg", "files": entry["files"], **json.loads(json.dumps(expected.as_json()))}
        np.testing.assert_array_equal(saved(f"cat.{layer}.dream.{KIND}.{NET}.npz"), expected.values.numpy())


@pytest.mark.parametrize(
    ("args", "request_", "name"),
    [
        (("--unit", "2:3,5", "--unit", "0:1"), {"unit": ["2:3,5", "0:1"]}, "2~3,5+0~1.dream"),
        (("--class", "lion", "--seed", 4), {"unit": ["lion"], "seed": 4}, "lion.dream"),
        (("--layer", "2", "--rate", 3, "--jitter", 1, "--octave-scale", 1.2), {"layer": "2", "rate": 3, "jitter": 1,
          "octave_scale": 1.2}, "2.dream"),
    ],
)  # fmt: skip
def test_units_classes_and_numbers_reach_the_dream(cli, photos: Path, net: str, small, args, request_, name) -> None:
    cli("dream", photos / "cat.jpg", "--model", net, "--save", "npz", *args, *QUICK)
    (file,) = written()
    assert file.startswith(f"cat.{name}.octaves-2")
    np.testing.assert_array_equal(saved(file), cs.dream(small, photos / "cat.jpg", **request_, **SAME).values.numpy())


def test_a_guide_leads(cli, photos: Path, net: str, small: cs.Network) -> None:
    args = ("--model", net, "--guide", photos / "coffee.png", "--layer", "2", "--save", "npz")
    cli("dream", photos / "cat.jpg", *args, *QUICK)
    assert written() == [f"cat.2.dream.guided-by-coffee.{KIND}.{NET}.npz"]
    expected = cs.dream(small, photos / "cat.jpg", "2", guide=photos / "coffee.png", **SAME)
    np.testing.assert_array_equal(saved(written()[0]), expected.values.numpy())


def test_noise_needs_no_picture(cli, net: str, small: cs.Network) -> None:
    cli("dream", "--noise", "--model", net, "--layer", "2", "--save", "npz", "--seed", 5, *QUICK)
    (file,) = written()
    assert file == f"noise.2.dream.{KIND}+seed-5.{NET}.npz"
    np.testing.assert_array_equal(saved(file), cs.dream(small, None, "2", seed=5, **SAME).values.numpy())


def test_no_steps_write_the_picture_itself(cli, photos: Path, net: str) -> None:
    cli("dream", photos / "coffee.png", "--model", net, "--layer", "2", "--steps", 0, "--bare")
    with Image.open(next(Path("convscope-out").glob("*.bare.png"))) as bare:
        assert np.array_equal(np.array(bare), np.array(cs.read_image(photos / "coffee.png")))


def test_a_folder_has_a_dream_a_photo_and_skips_what_is_none(cli, photos: Path, net: str, workplace: Path) -> None:
    folder = workplace / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((photos / "cat.jpg").read_bytes())
    (folder / "b.jpg").write_text("no picture")
    result = cli("dream", folder, "--model", net, "--layer", "2", "--save", "npz", *QUICK, code=1)
    assert written() == [f"a.2.dream.{KIND}.{NET}.npz"]
    assert result.stderr.startswith("skipped b.jpg: ")


@pytest.mark.parametrize("as_file", [True, False])
def test_animate_writes_every_step(cli, photos: Path, net: str, as_file: bool) -> None:
    args = ("--model", net, "--layer", "2", "--animate", "films/way.webp" if as_file else "gif", *QUICK)
    result = cli("dream", photos / "cat.jpg", *args)
    file = result.stdout.split()[-1]
    assert file == ("films/way.webp" if as_file else f"convscope-out/cat.2.dream.{KIND}.{NET}.animation.gif")
    with Image.open(file) as film:
        assert film.n_frames >= 4  # pyright: ignore
        assert max(film.size) == 40


def test_an_interrupted_run_goes_on_to_the_same_bits(
    cli, photos: Path, net: str, small: cs.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second photo: the first is written, the second goes on from its step with --resume."""
    args = ("dream", photos, "--model", net, "--layer", "2", "--save", "npz", *QUICK)
    states: list[int] = []
    state = dreaming.DreamStep.state

    def stop_at_the_ninth(self: dreaming.DreamStep) -> dict[str, torch.Tensor]:
        states.append(self.step)
        if len(states) == 9:
            raise KeyboardInterrupt
        return state(self)

    monkeypatch.setattr("convscope.cli.kept_work.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(dreaming.DreamStep, "state", stop_at_the_ninth)
    result = cli(*args, code=130)
    assert "not made: coffee.png, rocket.jpg" in result.stderr
    assert "--resume goes on from here" in result.stderr
    assert [name for name in written() if not name.startswith(".")] == [f"cat.2.dream.{KIND}.{NET}.npz"]
    assert len(states) == 9
    result = cli(*args, "--resume")
    assert "goes on from where it stopped" in result.stderr
    assert len(states) == 9 + 5 + 6  # 6 a photo: two octaves of a start and two steps; what is kept is made again
    assert len(written()) == 3
    for name in ("cat.jpg", "coffee.png", "rocket.jpg"):
        expected = cs.dream(small, photos / name, "2", **SAME).values.numpy()
        np.testing.assert_array_equal(saved(f"{Path(name).stem}.2.dream.{KIND}.{NET}.npz"), expected)


def test_of_several_layers_those_that_are_not_made_are_named(
    cli, photos: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second of three dreams of one photo."""
    args = ("dream", photos / "cat.jpg", "--model", net, "--layer", "0,2,3", "--save", "npz", *QUICK)
    state, made = dreaming.DreamStep.state, list[int]()

    def stop_at_the_ninth(self: dreaming.DreamStep) -> dict[str, torch.Tensor]:
        made.append(self.step)
        if len(made) == 9:
            raise KeyboardInterrupt
        return state(self)

    monkeypatch.setattr("convscope.cli.kept_work.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(dreaming.DreamStep, "state", stop_at_the_ninth)
    assert "not made: cat.jpg 2, cat.jpg 3\n" in cli(*args, code=130).stderr
    assert [name for name in written() if not name.startswith(".")] == [f"cat.0.dream.{KIND}.{NET}.npz"]


def test_an_animation_that_begins_in_the_middle_says_so(
    cli, photos: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the fourth of six pictures, which is the last kept and the first that is told of again."""
    args = ("dream", photos / "cat.jpg", "--model", net, "--layer", "2", "--animate", "webp", *QUICK)
    state, made = dreaming.DreamStep.state, list[int]()

    def stop_after_the_fourth(self: dreaming.DreamStep) -> dict[str, torch.Tensor]:
        made.append(self.step)
        if len(made) == 5:
            raise KeyboardInterrupt
        return state(self)

    monkeypatch.setattr("convscope.cli.kept_work.SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(dreaming.DreamStep, "state", stop_after_the_fourth)
    cli(*args, code=130)
    assert "note: the animation begins at picture 4 of 6, where it was stopped" in cli(*args, "--resume").stderr
    assert "animation begins" not in cli(*args).stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--layer", "featuers.3"], "no layer 'featuers.3' in Tiny50; did you mean 'features.3'"),
        (["--unit", "features.3:999"], "unit 999 was asked for, but layer 'features.3' has 32 units"),
        (["--unit", "features.3:1@2,2"], "features.3:1@2,2 is one neuron"),
        (["--class", "zebrra"], "zebrra"),
        (["--layer", "features.3", "--unit", "features.3:1"], "--unit says its layer: leave out --layer"),
        (["--layer", "features.3", "--class", "1"], "--class has no layer: leave out --layer"),
        (["--unit", "features.3:1", "--guide", "x.jpg"], "--guide leads a layer"),
        (["--guide", "x.jpg"], "x.jpg"),
        (["--noise"], "--noise begins without a picture"),
        (["--octave-scale", "1"], "--octave-scale 1.0: each octave is more than 1 times"),
        (["--octave-scale", "nan"], "--octave-scale nan"),
        (["--rate", "0"], "--rate 0.0: a number above 0"),
        (["--rate", "inf"], "--rate inf"),
        (["--steps", "-1"], "--steps"),
        (["--octaves", "0"], "--octaves"),
        (["--side", "2"], "cannot take an input of 3 x"),
        (["--animate", "way.tiff"], "no animation 'tiff'"),
        (["--animate", "way"], "--animate 'way': give a file that ends in"),
        (
            ["--animate", "way.webp", "--layer", "features.3,features.5"],
            "is one file for 2 results; give the ending, webp",
        ),
        (["--save", "tiff"], "--save 'tiff' is none of png"),
    ],
)
def test_what_cannot_be_dreamt_is_refused_and_leaves_nothing(
    cli, photos: Path, workplace: Path, args: list[str], message: str
) -> None:
    assert message in cli("dream", photos / "cat.jpg", *args, code=2).stderr
    assert list(workplace.iterdir()) == []


def test_nothing_to_begin_with_is_refused(cli, workplace: Path) -> None:
    assert "give a picture or a folder of pictures, or --demo" in cli("dream", code=2).stderr
    assert list(workplace.iterdir()) == []


def test_seeds_of_many_digits_have_files_of_their_own(cli, photos: Path, net: str) -> None:
    for seed in (123456788, 123456789):
        cli("dream", photos / "cat.jpg", "--model", net, "--layer", "2", "--seed", seed, *QUICK)
    assert written() == [f"cat.2.dream.{KIND}+seed-{seed}.{NET}.png" for seed in (123456788, 123456789)]
