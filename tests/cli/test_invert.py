"""``convscope invert``. The pictures are proved in ``tests/optimised``; here the command asks for the right ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.cli.invert_asked import Asked
from convscope.optimised import inversions

FEW = ("--steps", 3)


@pytest.fixture(scope="module")
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


def written() -> list[str]:
    return sorted(path.name for path in Path("convscope-out").iterdir())


def saved(name: str) -> dict[str, np.ndarray]:
    with np.load(Path("convscope-out") / name) as archive:
        return dict(archive)


def test_one_layer_is_the_photo_beside_its_inversion(cli, photos: Path, net: str, small: cs.Network) -> None:
    result = cli("invert", photos / "cat.jpg", "-m", net, "-l", "2", "--save", "png,npz", *FEW)
    assert written() == ["cat.inversion.2.net.py~make.steps-3.npz", "cat.inversion.2.net.py~make.steps-3.png"]
    stem = "convscope-out/cat.inversion.2.net.py~make.steps-3"
    assert result.stdout.split() == [f"{stem}.png", f"{stem}.npz"]
    expected = cs.invert(small, photos / "cat.jpg", "2", steps=3)
    assert np.array_equal(saved("cat.inversion.2.net.py~make.steps-3.npz")["values"], expected.values.numpy())


def test_every_layer_of_the_path_with_its_error_in_order(cli, photos: Path, net: str, small: cs.Network) -> None:
    options = ("--tv", 0.2, "--lp", 0, "--rate", 0.1, "--image", "fourier", "--seed", 4)
    result = cli("invert", photos / "cat.jpg", "-m", net, "--every-layer", "--json", *options, *FEW)
    (entry,) = json.loads(result.stdout)
    assert [layer["layer"] for layer in entry["layers"]] == ["0", "1", "2", "3", "4", "6"]
    last = cs.invert(small, photos / "cat.jpg", "6", steps=3, tv=0.2, lp=0, rate=0.1, image="fourier", seed=4)
    assert entry["layers"][-1] == last.as_json()
    assert entry["image"] == "cat.jpg"
    assert entry["missing"] == []
    assert [Path(file).name for file in entry["files"]] == written()


def test_strengths_are_rows(cli, photos: Path, net: str, small: cs.Network) -> None:
    result = cli("invert", photos / "cat.jpg", "-m", net, "-l", "0,2", "--tv", "0,1,0", "--json", *FEW)
    (entry,) = json.loads(result.stdout)
    assert [row["name"] for row in entry["rows"]] == ["TV 0", "TV 1"]
    assert [layer["tv"] for row in entry["rows"] for layer in row["layers"]] == [0, 0, 1, 1]
    expected = cs.invert(small, photos / "cat.jpg", "2", steps=3, tv=1.0)
    assert entry["rows"][1]["layers"][1]["relative_error"] == expected.relative_error
    assert written() == ["cat.inversion.0+2.net.py~make.tv-0,1+steps-3.png"]


def test_networks_are_rows_each_with_its_own_weights(cli, photos: Path, net: str) -> None:
    other = net.replace(":make", ":only_16_px")
    result = cli("invert", photos / "cat.jpg", "-m", net, "-m", other, "--every-layer", "--json", "--save", "npz", *FEW)
    (entry,) = json.loads(result.stdout)
    assert [row["name"] for row in entry["rows"]] == [Path(net).name, Path(other).name]
    assert [layer["layer"] for layer in entry["rows"][1]["layers"]] == ["0", "1", "3"]
    assert len(saved(written()[0])["errors"]) == 6 + 3
    assert "4 --weights" not in cli("invert", photos / "cat.jpg", "-m", net, "--weights", "random", *FEW).stderr


def test_a_folder_has_a_sheet_a_photo(cli, photos: Path, net: str) -> None:
    cli("invert", photos, "-m", net, "-l", "0", *FEW)
    assert written() == [f"{name}.inversion.0.net.py~make.steps-3.png" for name in ("cat", "coffee", "rocket")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--every-layer", "-l", "0"), "leave out --layer"),
        (("--tv", "0.1,much"), "--tv '0.1,much'"),
        (("--tv", "-1"), "tv=-1"),
        (("--lp", "-1"), "lp=-1"),
        (("--rate", "0"), "rate=0"),
        (("--image", "pixel"), "did you mean 'pixels'"),
        (("-l", "9"), "no layer '9'"),
        (("--weights", "random", "--weights", "own"), "2 --weights for 1 --model"),
        (("-m", "bundled:tiny50", "-m", "bundled:tiny50"), "the same network twice"),
        (("-m", "bundled:tiny50", "-m", "x.py:y", "--tv", "1,2"), "not of both"),
        (("-m", "bundled:tiny50", "-m", "x.py:y", "--mean", "0"), "describe one network"),
    ],
)
def test_what_contradicts_itself_is_refused_and_leaves_no_file(
    cli, photos: Path, net: str, options: tuple[str, ...], said: str
) -> None:
    model = () if "-m" in options else ("-m", net)
    result = cli("invert", photos / "cat.jpg", *model, *options, code=2)
    (line,) = result.stderr.splitlines()
    assert said in line
    assert not result.stdout
    assert not Path("convscope-out").exists()


def test_ctrl_c_writes_what_is_ready_and_resume_goes_on_to_the_same_numbers(
    cli, photos: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ("invert", photos / "cat.jpg", "-m", net, "-l", "0,2,6", "--save", "npz,png", "--json", *FEW)
    whole = json.loads(cli(*ask).stdout)
    expected = saved("cat.inversion.0+2+6.net.py~make.steps-3.npz")
    real, made = inversions.Run.one, list[str]()

    def one(self: inversions.Run, layer: str, on_step: object) -> cs.Inversion:
        made.append(layer)
        if made == ["0", "2"]:
            made.append("stopped")
            raise KeyboardInterrupt
        return real(self, layer, on_step)  # pyright: ignore

    monkeypatch.setattr(inversions.Run, "one", one)
    stopped = cli(*ask, code=130)
    assert not stopped.stdout
    assert "what is ready is in convscope-out/cat.inversion.0+2+6.net.py~make.steps-3.npz" in stopped.stderr
    assert "\nnot made: 2, 6\n" in stopped.stderr
    assert "--resume goes on from here" in stopped.stderr
    assert set(saved("cat.inversion.0+2+6.net.py~make.steps-3.npz")) == {"0", "errors", "about"}
    assert any(name.startswith(".convscope-invert-") for name in written())
    steps = list[tuple[str, int]]()
    tell = inversions.Run._made
    monkeypatch.setattr(inversions.Run, "_made", lambda self, *a: steps.append((a[0], 1)) or tell(self, *a))
    assert json.loads(cli(*ask, "--resume").stdout) == whole
    assert [layer for layer, _ in steps] == ["2", "6"]  # the first was kept
    found = saved("cat.inversion.0+2+6.net.py~make.steps-3.npz")
    assert all(np.array_equal(found[name], expected[name]) for name in ("0", "2", "6", "errors"))
    assert written() == ["cat.inversion.0+2+6.net.py~make.steps-3.npz", "cat.inversion.0+2+6.net.py~make.steps-3.png"]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (("2", 1), "1 pictures of cat.jpg, coffee.png, rocket.jpg"),
        (("0", 2), "2 pictures of coffee.png, rocket.jpg"),
    ],
)
def test_ctrl_c_over_a_folder_names_the_photos_that_were_not_begun(
    cli, photos: Path, net: str, monkeypatch: pytest.MonkeyPatch, at: tuple[str, int], said: str
) -> None:
    real, made = inversions.Run.one, list[str]()

    def one(self: inversions.Run, layer: str, on_step: object) -> cs.Inversion:
        made.append(layer)
        if (layer, made.count(layer)) == at:
            raise KeyboardInterrupt
        return real(self, layer, on_step)  # pyright: ignore

    monkeypatch.setattr(inversions.Run, "one", one)
    assert f"\nnot made: {said}\n" in f"\n{cli('invert', photos, '-m', net, '-l', '0,2', *FEW, code=130).stderr}"


def test_ctrl_c_names_the_strengths_that_were_not_begun(
    cli, photos: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(inversions.Run, "one", one)
    stopped = cli("invert", photos / "cat.jpg", "-m", net, "-l", "0,2", "--tv", "0,1", *FEW, code=130)
    assert "not made: TV 0 0, TV 0 2, TV 1 0, TV 1 2\n" in stopped.stderr


def test_numbers_of_many_digits_have_names_of_their_own() -> None:
    def name(seed: int, tv: tuple[float, ...]) -> str:
        return Asked((), True, tv, None, None, None, None, seed).kind("")

    assert name(0, (0.5, 10.0)) == "inversion.every-layer.tv-0.5,10"
    assert len({name(seed, (tv,)) for seed in (123456788, 123456789) for tv in (0.1234567, 0.1234568)}) == 4
