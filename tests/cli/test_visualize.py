"""``convscope visualize``: pictures and numbers are the library's; what makes no sense is refused, with no files."""

import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.cli.recipe_options import ALSO_SWEPT, RECIPE_OPTIONS, chosen
from convscope.cli.visualize_asked import classes_named, layers_named
from convscope.errors import ConvscopeError
from convscope.network.taps import tap
from convscope.optimised import picture_sheets
from convscope.synthesis.maximisation import PLAIN, Recipe
from tests import friendly


@pytest.fixture
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


@pytest.fixture
def made(cli, net: str):
    """Run it on the small network with few steps: (what --json prints, the arrays of the .npz)."""

    def run(*args: object) -> tuple[dict, dict[str, np.ndarray]]:
        fixed = ("--model", net, "--save", "npz", "--json")
        (entry,) = json.loads(cli("visualize", *args, *fixed).stdout)
        with np.load(entry["files"][0]) as archive:
            return entry, dict(archive)

    return run


def written() -> list[str]:
    folder = Path("convscope-out")
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def same(arrays: dict[str, np.ndarray], expected: cs.Pictures | picture_sheets.Sweep | picture_sheets.Both) -> None:
    wanted = expected.arrays()
    assert arrays.keys() - {"about"} == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, err_msg=name)


# ---- what is made --------------------------------------------------------------------------------------------


def test_a_newcomers_first_sheet_of_the_bundled_network(cli) -> None:
    result = cli("visualize", "--class", "lion", "--steps", 2)
    assert result.stdout == "convscope-out/visualize.lion.steps=2.png\n"
    assert result.stderr == ""
    assert written() == ["visualize.lion.steps=2.png"]
    with Image.open("convscope-out/visualize.lion.steps=2.png") as sheet:
        assert min(sheet.size) > 300


def test_units_layers_and_classes_are_those_of_the_library(made, small: cs.Network) -> None:
    entry, arrays = made("3:1", "2:0@3,4", "lion", "--layer", "1", "--units", "0-1,4", "--class", "0", "--steps", 3)
    expected = cs.visualize(small, ["3:1", "2:0@3,4", "lion", "1:0-1,4", 0], steps=3)
    same(arrays, expected)
    assert entry["pictures"] == json.loads(json.dumps(expected.as_json()))
    assert [one["name"] for one in entry["pictures"]] == ["3:1", "2:0@3,4", "lion", "1:0", "1:1", "1:4", "tabby"]
    assert entry["files"] == ["convscope-out/visualize.3~1+2~0@3,4+lion+1~0-1,4+0.steps=3.net.py~make.npz"]


def test_a_layer_without_numbers_is_its_first_16_units(made, net: str, cli, tmp_path: Path) -> None:
    entry, _ = made("--layer", "2", "--steps", 0)
    assert [one["name"] for one in entry["pictures"]] == [f"2:{i}" for i in range(8)]
    result = cli("visualize", "--layer", "features.3", "--steps", 0, "--save", "npz")
    assert result.stderr == "note: the first 16 of the 32 units of features.3; --units 0-31 has all\n"


def test_each_option_of_the_recipe_is_the_librarys_field(made, small: cs.Network) -> None:
    given = ("--image", "pixels", "--steps", 3, "--rate", 0.1, "--jitter", 20, "--rotate", 5, "--scale", "0.8-1.2")
    more = ("--tv", 0.5, "--tv-beta", 1, "--l2", 1, "--lp", 2, "--blur", 4, "--blur-every", 2, "--seed", 7)
    colours = ("--decorrelated", "no", "--alpha", "yes", "--let-through", 2, "--noise", 0.1, "--settle", 0.5)
    _, arrays = made("3:1", *given, *more, *colours)
    expected = cs.visualize(
        small, "3:1", image="pixels", steps=3, rate=0.1, jitter=20, rotate=5, scale=(0.8, 1.2), tv=0.5, tv_beta=1,
        l2=1, lp=2, blur=4, blur_every=2, seed=7, decorrelated=False, alpha=True, let_through=2, noise=0.1, settle=0.5,
    )  # fmt: skip
    same(arrays, expected)


def test_plain_is_no_regularisation_and_options_add_to_it(made, small: cs.Network) -> None:
    _, arrays = made("3:1", "--plain", "--steps", 3)
    same(arrays, cs.visualize(small, "3:1", recipe=PLAIN, steps=3))
    entry, arrays = made("3:1", "--plain", "--steps", 3, "--tv", 0.5)
    same(arrays, cs.visualize(small, "3:1", recipe=PLAIN, steps=3, tv=0.5))
    assert ".plain+steps=3+tv=0.5." in entry["files"][0]


def test_size_is_that_of_the_pictures(made) -> None:
    _, arrays = made("3:1", "--steps", 1, "--size", 24)
    assert arrays["values"].shape == (1, 3, 24, 24)


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("tv", "0.125,4,16", [0.125, 4, 16]),
        ("scale", "1,0.9-1.1", [(1.0, 1.0), (0.9, 1.1)]),
        ("seed", "0,7", [0, 7]),
        ("size", "16,20", [16, 20]),
        ("image", "fourier,maco", ["fourier", "maco"]),
        ("decorrelated", "yes,no", [True, False]),
    ],
)
def test_a_list_is_a_sweep_with_the_best_marked(made, small: cs.Network, name: str, text: str, values: list) -> None:
    entry, arrays = made("lion", "3:1", "--steps", 2, f"--{name}", text)
    expected = picture_sheets.sweep(small, ["lion", "3:1"], name, values, steps=2)
    same(arrays, expected)
    assert entry["sweep"] == json.loads(json.dumps(expected.as_json()))
    assert f"{name}=" in entry["files"][0]


def test_pairs_rows_of_layers_and_variants(made, small: cs.Network) -> None:
    entry, arrays = made("--both", "lion", "tabby", "--both", "3:1", "lion", "--steps", 2)
    same(arrays, picture_sheets.both(small, [("lion", "tabby"), ("3:1", "lion")], steps=2))
    assert entry["files"][0].startswith("convscope-out/visualize.both.lion-and-tabby+3~1-and-lion.steps=2.")
    assert [one["pair"] for one in entry["both"]["pairs"]] == [["lion", "tabby"], ["3:1", "lion"]]
    entry, arrays = made("--layers", "3,0:1,4", "--per-layer", 2, "--steps", 2)
    same(arrays, picture_sheets.hierarchy(small, ["3", "0:1,4"], 2, steps=2))
    assert [row["layer"] for row in entry["layers"]] == ["0", "3"]
    _, arrays = made("lion", "--variants", 3, "--diversity", 0.5, "--steps", 2)
    same(arrays, picture_sheets.variants(small, "lion", 3, diversity=0.5, steps=2))


def test_against_photos_is_the_share_of_the_strongest_activation_there(made, small: cs.Network, tmp_path: Path) -> None:
    """Oracle: the largest value on each map, photo by photo."""
    folder = tmp_path / "data"
    folder.mkdir()
    photos = [friendly.photo(20, 20, seed) for seed in range(5)]
    for number, photo in enumerate(photos):
        photo.save(folder / f"{number}.png")
    entry, _ = made("3:1", "0:2", "lion", "--steps", 3, "--against", folder, "--batch", 2)
    strongest = {}
    for photo in photos:
        with torch.no_grad(), tap(small.module, "3", "0") as seen:
            small.module(small.input_of(photo))
        for layer, unit in (("3", 1), ("0", 2)):
            name = f"{layer}:{unit}"
            strongest[name] = max(strongest.get(name, -1e9), float(seen[layer][0, unit].max()))
    for one in entry["pictures"][:2]:
        assert one["share_of_strongest"] == pytest.approx(one["peak"] / strongest[one["name"]])
    assert "share_of_strongest" not in entry["pictures"][2]
    assert entry["files"][0].endswith(".against-data.npz")


# ---- the animation -------------------------------------------------------------------------------------------


def test_the_animation_lies_beside_the_sheet_or_where_it_is_said(cli, net: str) -> None:
    args = ("visualize", "3:1", "lion", "--model", net, "--steps", 12, "--save", "npz")
    sheet, film = cli(*args, "--animate", "webp").stdout.split()
    assert film == sheet.replace(".npz", ".animation.webp")
    with Image.open(film) as animation:
        assert animation.n_frames == 13
    assert cli(*args, "--animate", "there/a.gif").stdout.split()[1] == "there/a.gif"
    with Image.open("there/a.gif") as animation:
        assert animation.format == "GIF"
    assert not list(Path("convscope-out").glob(".*"))


# ---- names ---------------------------------------------------------------------------------------------------


def test_the_options_and_the_recipe_have_the_same_fields_and_defaults() -> None:
    assert [field.name for field in fields(Recipe)] == list(RECIPE_OPTIONS)
    usual = Recipe()
    for name, option in RECIPE_OPTIONS.items():
        default = getattr(usual, name)
        if default is not None:
            assert option.kind.read(option.default) == default
    assert list(ALSO_SWEPT) == ["seed", "size"]


def test_values_are_read_by_the_kind_of_the_option() -> None:
    found = chosen({"tv": "1", "rate": "1", "scale": "0.9-1.1", "alpha": "Yes", "steps": None, "blur": "0.50"})
    assert dict(found.fields) == {"tv": 1, "rate": 1.0, "scale": (0.9, 1.1), "alpha": True, "blur": 0.5}
    assert isinstance(found.fields["rate"], float)
    assert found.swept is None
    assert chosen({"tv": "1,2", "steps": "9"}).swept == ("tv", (1, 2))
    assert chosen({"tv": "1,2", "steps": "9"}).in_words == ["tv=1,2", "steps=9"]


CLASSES = ("tench, Tinca tinca", "lion", "0-9", "goldfish", "7")


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["tench, Tinca tinca"], [0]),
        (["lion,goldfish"], [1, 3]),
        (["lion", "lion"], [1]),
        (["0-9"], [2]),  # a class is called so
        (["7"], [4]),
        (["1-3"], [1, 2, 3]),
        (["lion,2-4"], [1, 2, 3, 4]),
    ],
)
def test_class_names_may_hold_commas_and_numbers_may_be_ranges(values: list[str], numbers: list[int]) -> None:
    assert classes_named(values, CLASSES) == numbers


def test_a_class_that_is_none_is_refused_with_the_nearest() -> None:
    for values in (["lino"], ["lion,lino"]):
        with pytest.raises(ConvscopeError, match="no class 'lino' among the network's 5; did you mean 'lion'"):
            classes_named(values, CLASSES)


def test_layers_with_numbers_of_units() -> None:
    assert layers_named(["a,b:3,7,0-2,c", "0,1"]) == ["a", "b:3,7,0-2", "c", "0", "1"]
    assert layers_named(None) == []


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "nothing to make pictures of; ask for units (features.18:3, or --layer features.18 --units 0-15)"),
        (["featuers.3:1"], "no layer 'featuers.3' in Tiny50; did you mean 'features.3'"),
        (["features.0:32"], "unit 32 was asked for, but layer 'features.0' has 32 units (0 to 31)"),
        (["features.0:1@99,0"], "position 99,0 was asked for, but layer 'features.0' has a map of"),
        (["lino"], "'lino' is neither a layer nor one of the 50 classes of bundled:tiny50; did you mean 'lion'"),
        (["--class", "lino"], "no class 'lino' among the network's 50; did you mean 'lion'"),
        (["--class", "50"], "class 50 was asked for, but bundled:tiny50 has 50 classes (0 to 49)"),
        (["--layer", "features.0", "--units", "9-3"], "units of features.0 '9-3': 9-3 runs backwards; give 3-9"),
        (["--layer", "features.0", "--units", "30-40"], "unit 40 was asked for, but layer 'features.0' has 32 units"),
        (["--layer", "features.0", "--units", "x"], "'features.0:x'"),
        (["lion", "--units", "3"], "--units are of a --layer"),
        (["lion", "--both", "zebra", "lion"], "--both names what it shows"),
        (["--both", "lion", "lion"], "'lion' and 'lion' is no pair"),
        (["--both=lion"], "--both 'lion': give two with a blank between them, such as --both tabby lion"),
        (["--both", "lion", "--steps"], "--both 'lion': give two"),
        (["lion", "--layers", "features.0"], "--layers makes one sheet"),
        (["--layers", "features.0", "--both", "lion", "zebra"], "--both and --layers are two sheets"),
        (["--layers", "features.0,featuers.3"], "no layer 'featuers.3' in Tiny50"),
        (["lion", "--per-layer", "3"], "--per-layer goes with --layers"),
        (["lion", "--diversity", "1"], "--diversity goes with --variants"),
        (["lion", "tabby", "--variants", "2"], "--variants shows one unit, layer or class, and 2 were named"),
        (["lion", "--variants", "40"], "40 variants: from 2 on, and at most the 16 of one batch (--batch)"),
        (["lion", "--variants", "3", "--tv", "0,1"], "--tv has several values, which makes a sheet of its own: leave "),
        (["lion", "--tv", "0,1", "--steps", "3,4"], "--steps and --tv have several values each"),
        (["lion", "--tv", "x"], "--tv 'x': give a number, or several with commas"),
        (["lion", "--tv", ","], "--tv is empty: give a number"),
        (["lion", "--tv", "1,-1"], "tv -1: a number from 0 on"),
        (["lion", "--tv", "1,1.0"], "tv of [1, 1.0]: give one value or several different ones"),
        (["lion", "--steps", "2.5"], "--steps '2.5': give a whole number"),
        (["lion", "--image", "fuorier"], "--image 'fuorier': give natural, fourier, pixels or maco"),
        (["lion", "--scale", "1.1-0.9"], "scale (1.1, 0.9): the least and the largest factor"),
        (["lion", "--seed", "-1"], "seed"),
        (["lion", "--size", "0"], "size 0 px: an image has at least one pixel a side"),
        (["lion", "--animate", "mov"], "--animate 'mov': give a file that ends in .webp, .mp4, .gif, or the ending"),
        (["lion", "--animate", "a.mov"], "no animation 'mov'"),
        (["lion", "--animate", "webp", "--tv", "0,1"], "--animate shows one recipe: give --tv one value"),
        (["lion", "--against", "nowhere"], "--against compares the activations of units, and none was asked for"),
        (["features.0:1", "--against", "nowhere"], "there is no folder nowhere"),
        (["lion", "--save", "tiff"], "--save 'tiff' is none of png"),
        (["lion", "--resume", "--model", "bundled:tiny5"], "no bundled model 'tiny5'"),
    ],
)
def test_what_is_refused_leaves_no_files(cli, workplace: Path, args: list[str], message: str) -> None:
    result = cli("visualize", *args, code=2)
    assert result.stdout == ""
    *notes, line = result.stderr.splitlines()
    assert all(note.startswith("note: ") for note in notes)
    assert line.startswith("convscope: ")
    assert message in line
    assert list(workplace.iterdir()) == []


def test_a_size_that_the_network_refuses(cli, net: str, workplace: Path) -> None:
    fixed = net.replace(":make", ":only_16_px")
    result = cli("visualize", "--class", 0, "--model", fixed, "--size", 24, code=2)
    assert "cannot take an input of 3 x 24 x 24" in result.stderr
    assert list(workplace.iterdir()) == []


def test_an_mp4_without_its_extra_is_refused_before_the_network_is_loaded(cli, workplace: Path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    result = cli("visualize", "lion", "--model", "nowhere.py:make", "--animate", "a.mp4", code=2)
    assert "pip install 'convscope[video]'" in result.stderr
    assert list(workplace.iterdir()) == []


NOT_FINITE = """
import torch
from torch import nn
SIZE = 8
MEAN = STD = (0.5, 0.5, 0.5)

class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine, self.breaks = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
        nn.init.ones_(self.breaks.weight)
        nn.init.zeros_(self.breaks.bias)

    def forward(self, x):
        fine, breaks = self.fine(x), self.breaks(x)
        return (fine + breaks + 0 * torch.log(2 - breaks)).mean((2, 3))


def make():
    torch.manual_seed(0)
    return Breaks()
"""


def test_scores_that_stop_being_finite_are_refused_with_the_step(cli, workplace: Path) -> None:
    """The log of 2 - b is NaN once b has risen past 2: with another picture ready that is written, alone nothing is."""
    model = workplace / "net.py"
    model.write_text(NOT_FINITE)
    args = ("visualize", "--class", 0, "--model", f"{model}:make", "--rate", 1, "--image", "fourier")
    result = cli(*args, code=2)
    assert re.search(r"class 0: .* at step \d+: the picture of step \d+ is the last good one", result.stderr)
    assert [p.name for p in workplace.iterdir()] == ["net.py"]
    result = cli(*args, "fine:0", code=1)
    assert result.stdout == "convscope-out/visualize.fine~0+0.image=fourier+rate=1.0.net.py~make.png\n"
    assert re.search(r"stopped: class 0: .* at step \d+: .*; not made: class 0", result.stderr)
    assert written() == ["visualize.fine~0+0.image=fourier+rate=1.0.net.py~make.png"]
