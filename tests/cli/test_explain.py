"""``convscope explain``: which sheet each combination of options makes, and which files.

The maps themselves are proved in ``tests/test_comparisons.py``; here it is that the command asks for the right ones.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.attribution import METHODS
from convscope.cli.progress import Parts
from convscope.comparisons import one_photo
from convscope.results import Comparison
from tests.standalone import Page

SLOW = ", ".join(name for name, method in METHODS.items() if method.slow)
NOTE = f"note: {SLOW} take hundreds of passes and were left out; --method all has them\n"


@pytest.fixture(scope="module")
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


@pytest.fixture(scope="module")
def bundled() -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load()


def files(folder: str = "convscope-out") -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file())


def same(found: cs.Explanation, expected: cs.Explanation) -> bool:
    return torch.equal(found.values, expected.values) and (found.method, found.target, found.layer) == (
        expected.method, expected.target, expected.layer,
    )  # fmt: skip


def last(sheets: dict[str, Comparison]) -> Comparison:
    """The sheet of the last run."""
    return list(sheets.values())[-1]


# ---- what is written -----------------------------------------------------------------------------------------


def test_the_default_is_every_method_on_one_sheet_a_photo(cli, photos: Path) -> None:
    """With the bundled network, really drawn: the sheets can be opened, and nothing else is there."""
    result = cli("explain", photos)
    expected = ["cat.methods.png", "coffee.methods.png", "rocket.methods.png"]
    assert files() == expected
    assert result.stdout.splitlines() == [f"convscope-out/{name}" for name in expected]
    assert result.stderr == NOTE
    for name in expected:
        with Image.open(Path("convscope-out") / name) as sheet:
            sheet.load()
            assert sheet.width > 1000
            stamp = json.loads(sheet.text["convscope"])
            assert stamp["model"] == "bundled:tiny50"


def test_the_demo_needs_no_file(cli, sheets: dict[str, Comparison]) -> None:
    cli("explain", "--demo", "--method", "cam")
    assert list(sheets) == ["cat.cam.png", "coffee.cam.png", "rocket.cam.png"]
    assert sheets["coffee.cam.png"].title == "Why espresso?"


def test_json_says_what_was_made(cli, photos: Path, net: str, small: cs.Network) -> None:
    args = ("--model", net, "--method", "cam,gradient", "--save", "npz", "--out", "deep/out", "--json")
    (entry,) = json.loads(cli("explain", photos / "cat.jpg", *args).stdout)
    seen = cs.predict(small, photos / "cat.jpg")
    top = seen[0][0]
    assert entry == {
        "image": "cat.jpg",
        "files": ["deep/out/cat.cam+gradient.npz"],
        "top": [{"class": name, "probability": probability} for name, probability in seen],
        "maps": {
            "cam": {"method": "cam", "target": top, "layer": "3", "shape": [16, 16]},
            "gradient": {"method": "gradient", "target": top, "layer": None, "shape": [3, 16, 16]},
        },
        "left_out": {},
    }
    assert files("deep/out") == ["cat.cam+gradient.npz"]


def test_each_form_that_save_names_is_written(cli, photos: Path, net: str, small: cs.Network) -> None:
    result = cli(
        "explain", photos / "cat.jpg", "--model", net, "--method", "gradient", "--save", "png,jpg,webp,html,npz"
    )
    names = [f"cat.gradient.{ending}" for ending in ("png", "jpg", "webp", "html", "npz")]
    assert files() == sorted(names)
    assert result.stdout.split() == [f"convscope-out/{name}" for name in names]
    for name, form in zip(names, ("PNG", "JPEG", "WEBP"), strict=False):
        with Image.open(Path("convscope-out") / name) as sheet:
            sheet.load()
            assert sheet.format == form
    assert Page(Path("convscope-out/cat.gradient.html").read_text("utf-8")).fetches == []
    with np.load("convscope-out/cat.gradient.npz") as saved:
        expected = cs.explain(small, photos / "cat.jpg", "gradient")
        np.testing.assert_array_equal(saved["gradient"], expected.values.numpy())


def test_photos_in_subfolders_and_of_one_name_keep_apart(cli, photos: Path, net: str, sheets) -> None:
    shutil.copytree(photos, "in/sub")
    shutil.copy(photos / "cat.jpg", "in/cat.jpg")
    shutil.copy(photos / "coffee.png", "in/cat.png")
    cli("explain", "in", "--model", net, "--method", "cam")
    assert files() == [
        "cat.jpg.cam.png", "cat.png.cam.png", "sub/cat.cam.png", "sub/coffee.cam.png", "sub/rocket.cam.png",
    ]  # fmt: skip


def test_a_second_run_over_the_same_folder_explains_the_photos_only(cli, photos: Path, net: str) -> None:
    shutil.copytree(photos, ".", dirs_exist_ok=True)
    first = cli("explain", ".", "--model", net, "--method", "cam").stdout
    before = {name: (Path("convscope-out") / name).read_bytes() for name in files()}
    assert cli("explain", ".", "--model", net, "--method", "cam").stdout == first
    assert {name: (Path("convscope-out") / name).read_bytes() for name in files()} == before


# ---- methods -------------------------------------------------------------------------------------------------


def test_one_method_names_the_file_several_share_one_sheet(cli, photos: Path, net: str, small, sheets) -> None:
    cli("explain", photos / "cat.jpg", "--model", net, "--method", "grad_cam")
    cli("explain", photos / "cat.jpg", "--model", net, "--method", "saliency,cam", "--method", "gradient")
    assert list(sheets) == ["cat.grad-cam.png", "cat.saliency+cam+gradient.png"]
    assert list(sheets["cat.saliency+cam+gradient.png"].explanations) == ["saliency", "cam", "gradient"]
    for name, found in sheets["cat.saliency+cam+gradient.png"].explanations.items():
        assert same(found, cs.explain(small, photos / "cat.jpg", name))


def test_target_layer_score_and_seed_reach_the_method(cli, photos: Path, net: str, small, sheets) -> None:
    cat = photos / "cat.jpg"
    cli("explain", cat, "--model", net, "--method", "grad-cam", "-t", "lion", "-l", "1", "--score", "probability")
    expected = cs.explain(small, cat, "grad-cam", "lion", "1", score="probability")
    assert same(sheets["cat.grad-cam.lion.1.score=probability.png"].explanations["grad-cam"], expected)
    cli("explain", cat, "--model", net, "--method", "occlusion", "--fill", "noise", "--seed", 5, "--batch", 7)
    expected = cs.explain(small, cat, "occlusion", fill="noise", seed=5, batch=7)
    assert same(last(sheets).explanations["occlusion"], expected)
    assert last(sheets).stamp.seed == 5


def test_an_option_of_the_method_reaches_it(cli, photos: Path, net: str, small, sheets) -> None:
    cat = photos / "cat.jpg"
    cli("explain", cat, "--model", net, "--method", "occlusion", "-O", "size=4", "-O", "stride=3", "-O", "reading=drop")
    expected = cs.explain(small, cat, "occlusion", size=4, stride=3, reading="drop")
    assert same(last(sheets).explanations["occlusion"], expected)


def test_two_questions_do_not_write_over_each_other(cli, photos: Path, net: str, sheets) -> None:
    questions = ((), ("-t", "lion"), ("-l", "1"), ("-t", "lion", "-l", "1"), ("-t", "lion", "-t", "tabby"))
    for asked in (*questions, ("-O", "relu=false"), ("--score", "probability")):
        cli("explain", photos / "cat.jpg", "--model", net, "--method", "grad-cam", *asked)
    assert len(sheets) == 7
    assert list(sheets)[-2:] == ["cat.grad-cam.relu=False.png", "cat.grad-cam.score=probability.png"]


def test_the_squares_of_an_occlusion_are_counted_as_they_go(cli, photos: Path, net: str, sheets, monkeypatch) -> None:
    """Squares of 4 every 2 on 16 x 16: 49 positions."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(Parts, "__call__", lambda self, done, every: told.append((done, every)))
    cli("explain", photos / "cat.jpg", "--model", net, "--method", "occlusion", "--batch", 20)
    assert told == [(20, 49), (40, 49), (49, 49)]


def test_a_colour_fills_the_square_in_the_networks_own_units(cli, photos: Path, net: str, small, sheets) -> None:
    """Of white under mean = std = 1/2: (1 - 1/2) / (1/2) = 1; of #000080 in blue: (128/255 - 1/2) / (1/2)."""
    for fill, expected in (("white", (1.0, 1.0, 1.0)), ("#000080", (-1.0, -1.0, 2 * 128 / 255 - 1)), ("blur", "blur")):
        cli("explain", photos / "cat.jpg", "--model", net, "--method", "occlusion", "--fill", fill)
        found = last(sheets).explanations["occlusion"]
        torch.testing.assert_close(
            found.values, cs.explain(small, photos / "cat.jpg", "occlusion", fill=expected).values
        )


def test_a_colour_fills_a_grey_networks_square_with_its_luma(cli, photos: Path, tmp_path: Path, sheets) -> None:
    """ITU-R 601: blue is 29 of 255."""
    (tmp_path / "grey.py").write_text(
        "from torch import nn\nMEAN = STD = (0.5,)\nSIZE = 16\n"
        "def make():\n    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    cli("explain", photos / "cat.jpg", "--model", "grey.py:make", "--method", "occlusion", "--fill", "blue")
    (value,) = last(sheets).explanations["occlusion"].options["fill"]
    assert value == pytest.approx(2 * 29 / 255 - 1)


def test_what_does_not_apply_is_named_on_stderr_and_in_the_json(cli, photos: Path, net: str, sheets) -> None:
    opaque = net.replace(":make", ":opaque")
    result = cli("explain", photos / "cat.jpg", "--model", opaque, "--json")
    (entry,) = json.loads(result.stdout)
    refused = ["guided-backprop", "guided-saliency", "deconvnet", "guided-grad-cam"]
    assert list(entry["left_out"]) == refused
    assert result.stderr.endswith(NOTE)
    lines = result.stderr.splitlines()[:-1]
    assert [line.split(" left out: ")[0] for line in lines] == [f"cat.jpg: {name}" for name in refused]
    assert all("1 x Hidden" in line for line in lines)
    assert set(entry["maps"]) == {name for name, method in METHODS.items() if not method.slow} - set(refused)


def test_maps_that_are_zero_everywhere_are_named_on_stderr(cli, photos: Path, tmp_path: Path, sheets) -> None:
    (tmp_path / "dead.py").write_text(
        "from torch import nn\nMEAN = STD = (0.5, 0.5, 0.5)\nSIZE = 16\n"
        "def make():\n    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "    nn.init.constant_(net[0].bias, -100)\n    return net\n"
    )
    result = cli("explain", photos / "cat.jpg", "--model", "dead.py:make", "--method", "gradient")
    assert result.stderr == f"cat.jpg: gradient is zero everywhere: {METHODS['gradient'].zero}\n"


def test_deconvnet_from_a_class_is_what_was_asked_and_may_be_zero(cli, shared: Path, photos: Path, sheets) -> None:
    """SqueezeNet ends in convolution, ReLU, pooling: from a class the signal dies, from the strongest unit it does not.

    Oracle: METHODS.md, and the plain function.
    """
    weights = shared / "models" / "squeezenet1_0_imagenet.safetensors"
    model = ("--model", "torchvision:squeezenet1_0", "--weights", weights, "--method", "deconvnet")
    result = cli("explain", photos / "cat.jpg", *model, "-t", "Egyptian cat")
    found = sheets["cat.deconvnet.Egyptian-cat.png"].explanations["deconvnet"]
    assert (found.target, found.layer) == ("Egyptian cat", None)
    assert not found.values.any()
    assert result.stderr.startswith("cat.jpg: deconvnet is zero everywhere: the signal was negative somewhere")
    assert cli("explain", photos / "cat.jpg", *model).stderr == ""
    found = sheets["cat.deconvnet.png"].explanations["deconvnet"]
    assert found.target.startswith("features.12:")
    assert found.values.any()


def test_partial_lets_guided_backprop_pass_other_activations(cli, photos: Path, tmp_path: Path, sheets) -> None:
    (tmp_path / "mixed.py").write_text(
        "from torch import nn\nMEAN = STD = (0.5, 0.5, 0.5)\nSIZE = 16\n"
        "def make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish(), nn.Conv2d(4, 4, 3), nn.ReLU(),\n"
        "                         nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    args = ("explain", photos / "cat.jpg", "--model", "mixed.py:make", "--method", "guided-backprop")
    assert "--partial" in cli(*args, code=2).stderr
    cli(*args, "--partial")
    assert list(sheets) == ["cat.guided-backprop.partial.png"]


# ---- classes, layers, models, squares, photos ----------------------------------------------------------------


def test_two_targets_are_set_against_each_other_on_one_scale(cli, photos: Path, bundled: cs.Network, sheets) -> None:
    cli("explain", photos / "cat.jpg", "--method", "cam", "--target", "tabby", "--target", "lion")
    sheet = sheets["cat.cam.classes.tabby+lion.png"]
    assert sheet.title == "tabby against lion"
    assert sheet.bar is not None
    for name, found in sheet.explanations.items():
        assert same(found, cs.explain(bundled, photos / "cat.jpg", "cam", name))
    cli("explain", photos / "cat.jpg", "--method", "cam", "--target", "tabby", "--target", "lion", "--own-scale")
    assert sheets["cat.cam.classes.tabby+lion.png"].bar is None


def test_the_top_classes(cli, photos: Path, bundled: cs.Network, sheets) -> None:
    cli("explain", photos / "cat.jpg", "--top-classes", 3)
    expected = [name for name, _ in cs.predict(bundled, photos / "cat.jpg", k=3)]
    assert list(sheets["cat.grad-cam.classes.png"].explanations) == expected


def test_several_layers(cli, photos: Path, sheets) -> None:
    cli("explain", photos / "cat.jpg", "--layer", "features.8,features.13", "--layer", "features.18", "-t", "tabby")
    sheet = sheets["cat.grad-cam.layers.tabby.features.8+features.13+features.18.png"]
    assert list(sheet.explanations) == ["features.8", "features.13", "features.18"]
    assert {found.target for found in sheet.explanations.values()} == {"tabby"}


def test_occluding_squares_of_several_sizes(cli, photos: Path, bundled: cs.Network, sheets) -> None:
    cli("explain", photos / "coffee.png", "--square", "10,5", "--square", "32, 16", "--square", "10,5")
    sheet = sheets["coffee.occlusion.squares.png"]
    assert list(sheet.explanations) == ["10 px, every 5 px", "32 px, every 16 px"]
    assert sheet.title == "Probability of espresso with a square covered"
    for (size, stride), found in zip([(10, 5), (32, 16)], sheet.explanations.values(), strict=True):
        options = {"size": size, "stride": stride, "reading": "score", "score": "probability"}
        assert same(found, cs.explain(bundled, photos / "coffee.png", "occlusion", "espresso", **options))
    assert sheet.bar is not None
    cli("explain", photos / "coffee.png", "--square", "32,16", "--own-scale", "--score", "logit", "--fill", "blur")
    sheet = last(sheets)
    (found,) = sheet.explanations.values()
    options = {"size": 32, "stride": 16, "reading": "score", "fill": "blur"}
    assert same(found, cs.explain(bundled, photos / "coffee.png", "occlusion", "espresso", **options))
    assert (sheet.title, sheet.bar) == ("Logit of espresso with a square covered", None)


def test_two_models(cli, photos: Path, net: str, small: cs.Network, bundled: cs.Network, sheets) -> None:
    cli("explain", photos / "cat.jpg", "--model", "bundled:tiny50", "--model", net, "-t", "tabby")
    sheet = sheets["cat.grad-cam.models.tabby.png"]
    assert list(sheet.explanations) == ["bundled:tiny50", net]
    for one, found in zip((bundled, small), sheet.explanations.values(), strict=True):
        assert same(found, cs.explain(one, photos / "cat.jpg", target="tabby"))
    scales = {(t.bar.scale.low, t.bar.scale.high) for t in sheet.tiles[0] if t.bar is not None}
    assert len(scales) == 1


def test_a_matrix_of_photos_and_methods(cli, photos: Path, net: str, small: cs.Network, sheets) -> None:
    result = cli("explain", photos, "--model", net, "--matrix", "--method", "cam,saliency", "--json")
    sheet = sheets["all.matrix.cam+saliency.png"]
    assert (sheet.row_headings, sheet.column_headings[1:]) == (
        ("cat.jpg", "coffee.png", "rocket.jpg"), ("cam", "saliency"),
    )  # fmt: skip
    for key, found in sheet.explanations.items():
        name, method = key.split("|")
        assert same(found, cs.explain(small, photos / name, method))
    (entry,) = json.loads(result.stdout)
    assert entry["image"] == ["cat.jpg", "coffee.png", "rocket.jpg"]
    assert len(entry["maps"]) == 6


def test_a_matrix_of_photos_and_layers_on_one_scale_a_column(cli, photos: Path, net: str, sheets) -> None:
    cli("explain", photos, "--model", net, "--matrix", "--layer", "1,3", "--shared-scale")
    sheet = sheets["all.matrix.1+3.png"]
    assert sheet.column_headings[1:] == ("1", "3")
    scales = [{row[column].bar.scale.high for row in sheet.tiles} for column in (1, 2)]
    assert [len(each) for each in scales] == [1, 1]


def test_a_matrix_of_all_methods_leaves_columns_empty(cli, photos: Path, net: str, sheets) -> None:
    result = cli("explain", photos, "--model", net.replace(":make", ":opaque"), "--matrix")
    assert set(sheets["all.matrix.png"].left_out) == {
        "guided-backprop", "guided-saliency", "deconvnet", "guided-grad-cam",
    }  # fmt: skip
    assert result.stderr.startswith("3 photos: guided-backprop left out: ")
    assert result.stderr.endswith(NOTE)
    assert result.stderr.count("\n") == 4 + 1


@pytest.mark.parametrize(
    ("target", "layer", "label"), [("features.3:5", None, "features.3:5"), ("map", "features.3", "map")]
)
def test_the_deconvnet_of_a_unit_and_of_a_whole_map(cli, photos, target, layer, label, sheets) -> None:
    where = () if layer is None else ("--layer", layer)
    cli("explain", photos / "cat.jpg", "--method", "deconvnet", "--target", target, *where)
    (sheet,) = sheets.values()
    found = sheet.explanations["deconvnet"]
    assert (found.target, found.layer) == (label, "features.3")


def test_three_kinds_of_sheet_are_really_drawn(cli, photos: Path, net: str) -> None:
    cat = photos / "cat.jpg"
    cli("explain", photos, "--model", net, "--matrix", "--method", "cam,gradient")
    cli("explain", cat, "--model", net, "--square", "8,4", "--square", "10,5")
    cli("explain", cat, "--model", net, "--model", net)
    assert files() == ["all.matrix.cam+gradient.png", "cat.grad-cam.models.png", "cat.occlusion.squares.png"]
    for name in files():
        with Image.open(Path("convscope-out") / name) as sheet:
            sheet.load()


# ---- a folder with bad pictures, interrupts, crashes ---------------------------------------------------------


def test_bad_pictures_are_skipped_listed_and_change_nothing(cli, photos: Path, net: str) -> None:
    """Oracle: the sheets of a run without them, byte for byte."""
    bad = shutil.copytree(photos, "bad")
    Path(bad, "a.png").write_bytes((photos / "coffee.png").read_bytes()[:500])
    Path(bad, "z.jpg").write_bytes(b"")
    Image.new("RGB", (40_000, 1)).save(Path(bad) / "long.png")
    args = ("--model", net, "--method", "cam", "--size", "300", "--save", "png,npz")
    cli("explain", photos, *args, "--out", "expected")
    result = cli("explain", bad, *args, "--out", "found", code=1)
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "skipped a.png", "skipped long.png", "skipped z.jpg",
    ]  # fmt: skip
    assert files("found") == files("expected")
    for name in files("found"):
        assert Path("found", name).read_bytes() == Path("expected", name).read_bytes()
    matrix = cli("explain", bad, "--model", net, "--method", "cam", "--matrix", "--out", "matrix", code=1)
    assert len(matrix.stderr.splitlines()) == 2


def test_a_refusal_that_is_not_the_photos_ends_the_run_at_the_second(cli, photos: Path, net: str, monkeypatch) -> None:
    asked: list[str] = []
    explain = one_photo.explain

    def noted(*args, **options):
        asked.append("again")
        return explain(*args, **options)

    monkeypatch.setattr(one_photo, "explain", noted)
    result = cli("explain", photos, "--model", net, "--method", "occlusion", "--square", "99,9", code=2)
    assert result.stderr.startswith("convscope: an occluding square of 99 px does not fit an image 16 px high")
    assert len(asked) == 2
    assert not Path("convscope-out").exists()


def interrupting(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, at: int, error: BaseException) -> None:
    """The ``at``-th call of ``owner.name`` raises."""
    calls: list[int] = []
    whole = getattr(owner, name)

    def broken(*args, **options):
        calls.append(1)
        if len(calls) == at:
            raise error
        return whole(*args, **options)

    monkeypatch.setattr(owner, name, broken)


@pytest.mark.parametrize("where", [(one_photo, "explain"), (Path, "replace")])
def test_ctrl_c_leaves_the_finished_sheets_whole_and_nothing_half(
    cli, photos: Path, net: str, monkeypatch, where
) -> None:
    """In the middle of the second photo's map, and in the middle of writing its sheet."""
    with monkeypatch.context() as patch:
        interrupting(patch, *where, at=2, error=KeyboardInterrupt())
        result = cli("explain", photos, "--model", net, "--method", "cam", code=130)
    assert result.stderr == "convscope: interrupted; what was written stays\n"
    assert files() == ["cat.cam.png"]
    interrupted = Path("convscope-out/cat.cam.png").read_bytes()
    cli("explain", photos, "--model", net, "--method", "cam", "--out", "whole")
    assert interrupted == Path("whole/cat.cam.png").read_bytes()


def test_a_crash_is_one_line_with_its_log(cli, photos: Path, net: str, monkeypatch) -> None:
    interrupting(monkeypatch, one_photo, "explain", at=1, error=AttributeError("no such thing"))
    result = cli("explain", photos, "--model", net, "--method", "cam", code=70)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("convscope: unexpected AttributeError: no such thing (traceback: ")
    assert "no such thing" in Path(line.split("traceback: ")[1].removesuffix(")")).read_text()
    assert not Path("convscope-out").exists()
