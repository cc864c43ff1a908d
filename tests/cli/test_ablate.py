"""``convscope ablate`` of pictures: sheets and numbers are the library's; what makes no sense is refused, unwritten."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from tests import friendly


@pytest.fixture
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


def files(folder: str = "convscope-out") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five photos to take a mean over."""
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(5):
        friendly.photo(20, 20, seed).save(folder / f"{seed}.png")
    return folder


# ---- what is made --------------------------------------------------------------------------------------------


def test_json_says_what_was_switched_off_and_what_became_of_the_answer(cli, photos: Path, net: str, small) -> None:
    result = cli("ablate", photos / "cat.jpg", "--model", net, "--unit", "3:2,5", "--save", "npz", "--json")
    (entry,) = json.loads(result.stdout)
    expected = cs.ablate(small, photos / "cat.jpg", "3:2,5")
    assert entry["image"] == "cat.jpg"
    assert entry["files"] == ["convscope-out/cat.ablate.3~2,5.npz"]
    assert entry["units"] == ["3:2", "3:5"]
    assert (entry["target"], entry["replaced_by"], entry["notes"]) == (expected.target, "at zero", [])
    assert entry["logit"]["drop"] == pytest.approx(expected.drop, abs=1e-6)
    assert entry["logit"]["before"] - entry["logit"]["after"] == pytest.approx(expected.drop, abs=1e-6)
    assert list(entry["probability"].values()) == pytest.approx(list(expected.probabilities))
    for when, seen in (("before", expected.before), ("after", expected.after)):
        assert [one["class"] for one in entry[when]] == [name for name, _ in seen]
        assert [one["probability"] for one in entry[when]] == pytest.approx([p for _, p in seen])
        assert [one["logit"] for one in entry[when]] == pytest.approx(seen.logits[list(seen.indices)].tolist())
    with np.load(entry["files"][0]) as saved:
        np.testing.assert_allclose(saved["after"], expected.after.logits.numpy(), rtol=0, atol=1e-6)


def test_the_most_important_units_and_the_forms_that_save_names(cli, photos: Path, net: str, small) -> None:
    args = ("--most-important", "--count", 2, "--target", "lion", "--save", "png,html")
    result = cli("ablate", photos / "cat.jpg", "--model", net, *args)
    stem = "cat.ablate.most-important+2+lion"
    assert result.stdout.split() == [f"convscope-out/{stem}.png", f"convscope-out/{stem}.html"]
    expected = cs.ablate(small, photos / "cat.jpg", most_important=True, count=2, target="lion")
    assert result.stderr == f"cat.jpg: {expected!r}\n"
    with Image.open(f"convscope-out/{stem}.png") as sheet:
        assert sheet.size == expected.picture().size


def test_units_of_two_layers_and_a_neuron_in_one_pass(cli, photos: Path, net: str, small) -> None:
    args = ("--unit", "3:0-1", "-u", "1:4@2,3", "--save", "npz", "--json")
    (entry,) = json.loads(cli("ablate", photos / "cat.jpg", "--model", net, *args).stdout)
    expected = cs.ablate(small, photos / "cat.jpg", ["3:0", "3:1", "1:4@2,3"])
    assert entry["units"] == ["3:0", "3:1", "1:4@2,3"]
    assert entry["logit"]["drop"] == pytest.approx(expected.drop, abs=1e-6)


def test_a_folder_has_a_sheet_a_picture_and_one_mean(cli, photos: Path, net: str, small, data: Path) -> None:
    """Oracle: each photo alone; the sheets of other modes, data and seeds do not write over each other."""
    args = ("ablate", photos, "--each", "--model", net, "--unit", "3:1", "--save", "npz", "--data", data, "--json")
    for mode, options in (("mean", {}), ("resample", {"seed": 3})):
        given = [text for name, value in options.items() for text in (f"--{name}", value)]
        found = json.loads(cli(*args, "--mode", mode, *given).stdout)
        assert [entry["image"] for entry in found] == ["cat.jpg", "coffee.png", "rocket.jpg"]
        for entry in found:
            expected = cs.ablate(small, photos / entry["image"], "3:1", mode=mode, data=data, **options)
            assert entry["replaced_by"] == expected.replaced_by
            assert entry["logit"]["drop"] == pytest.approx(expected.drop, abs=1e-5)
    cli(*args, "--mode", "mean", "--most", 2)
    kinds = ["3~1+mean+data", "3~1+mean+data+2", "3~1+resample+data+3"]
    assert files() == sorted(f"{n}.ablate.{kind}.npz" for n in ("cat", "coffee", "rocket") for kind in kinds)


def test_the_demo_on_the_bundled_network(cli) -> None:
    found = json.loads(cli("ablate", "--demo", "--most-important", "--save", "npz", "--json").stdout)
    assert [entry["image"] for entry in found] == ["cat", "coffee", "rocket"]
    for entry in found:
        assert entry["logit"]["drop"] == pytest.approx(entry["importance"][0], abs=1e-5)  # GAP + linear
        assert entry["logit"]["drop"] > 0


def test_what_cannot_be_used_of_a_folder_is_skipped_and_named(cli, photos: Path, net: str) -> None:
    shutil.copytree(photos, "in")
    Path("in/b.png").write_text("no picture")
    result = cli("ablate", "in", "--model", net, "--most-important", "--save", "npz", code=1)
    assert "skipped b.png: it is not a picture" in result.stderr
    assert len(files()) == 3


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "which units? Give --unit LAYER:NUMBER"),
        (["--layer", "3"], "layer '3' names no units: of a picture give --unit 3:3,7 or 3:all"),
        (["--each", "--layer", "3"], "layer '3' names no units: of a picture give --unit 3:3,7 or 3:all"),
        (["--unit", "3"], "'3' names no unit; give LAYER:3"),
        (["--unit", "3:8"], "unit 8 was asked for, but layer '3' has 8 units (0 to 7)"),
        (["--unit", "3:0-8"], "unit 8 was asked for, but layer '3' has 8 units (0 to 7)"),
        (["--unit", "3:5-2"], "units of 3 '5-2': 5-2 runs backwards; give 2-5"),
        (["--unit", "3:0@16,0"], "position 16,0 was asked for, but layer '3' has a map of 16 x 16"),
        (["--unit", "33:0"], "no layer '33' in Sequential"),
        (["--unit", "3:0", "--most-important"], "both --unit and --most-important were given"),
        (["--unit", "3:0", "--count", "2"], "count belongs to the most important units"),
        (["--unit", "3:0", "--layer", "3"], "layer belongs to the most important units"),
        (["--unit", "3:0", "--mode", "mean"], "mode 'mean' takes the mean from photos: give a folder of them (--data"),
        (["--unit", "3:0", "--mode", "resample"], "mode 'resample' takes the other photo from photos"),
        (["--unit", "3:0", "--mode", "zeor"], "no mode 'zeor'; did you mean 'zero'"),
        (["--unit", "3:0", "--data", "."], "data (and most of it) changes nothing for mode 'zero'"),
        (["--unit", "3:0", "--mode", "mean", "--data", "nowhere"], "there is no folder nowhere"),
        (["--unit", "3:0", "--mode", "mean", "--data", "."], "no picture in the folder ."),
        (["--unit", "3:0", "--seed", "3"], "--seed changes nothing for --mode zero; it is for resample"),
        (["--unit", "3:0", "--target", "lino"], "no class 'lino' among the network's 4; did you mean 'lion'"),
        (["--unit", "3:0", "--target", "4"], "no class 4 in"),
        (["--unit", "3:0", "--target", "3:1"], "an ablation follows the logit of a class; target '3:1' is none"),
        (["--most-important", "--count", "9"], "9 units were asked for, but layer '3' has 8"),
        (["--most-important", "--layer", "5:1"], "no layer '5:1' in Sequential"),
        (["--unit", "3:0", "--save", "tiff"], "--save 'tiff' is none of png"),
    ],
)
def test_what_makes_no_sense_writes_nothing(
    cli, tmp_path: Path, photos: Path, net: str, args: list[str], message: str
) -> None:
    for path in ([photos / "cat.jpg"], [photos, "--each"]):
        result = cli("ablate", *path, "--model", net, *args, code=2)
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"convscope: {message}")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_go_together_is_refused_before_the_network_is_loaded(
    cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convscope.cli.options.network", lambda *_: pytest.fail("the network was loaded"))
    for args in (("--mode", "mean", "--unit", "3:0"), (), ("--unit", "3")):
        cli("ablate", photos / "cat.jpg", *args, code=2)
