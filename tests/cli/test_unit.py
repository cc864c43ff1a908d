"""``convscope unit``. The sheets are proved in ``tests/atlases``; here it is what is made, written and refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from tests.atlases.surveyed import photo_folder
from tests.cli.test_explain_refusals import refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("data") / "photos", 12)


@pytest.fixture(scope="module")
def made(folder: Path, net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written into."""
    out = tmp_path_factory.mktemp("made") / "photos.atlas"
    with torch.random.fork_rng(devices=[]):
        cs.survey(cs.load(net), folder, out, top=3, labels="groups").close()
    return out


@pytest.fixture
def atlas(made: Path, tmp_path: Path) -> Path:
    """A copy in the current folder."""
    shutil.copytree(made, tmp_path / "photos.atlas")
    return Path("photos.atlas")


def test_a_unit_gets_a_table_and_a_dossier(cli, atlas: Path) -> None:
    out = cli("unit", atlas, "2:3").stdout.splitlines()
    assert out[0] == "2:3"
    assert out[-2] == "convscope-out/photos.2~3.unit.png"
    first, *_ = cs.open_atlas(atlas).exemplars("2:3")
    assert "r: correlation of the pooled activations over 12 images" in out
    assert out[3].split() == ["1", f"{first[0]:.4g}", *first[1].split(), f"{first[2]},{first[3]}"]
    assert Path("convscope-out/photos.2~3.unit.png").is_file()


def test_several_units_get_a_dossier_each(cli, atlas: Path) -> None:
    found = json.loads(cli("unit", atlas, "2:0-1,4", "0:2", "--top", 2, "--save", "npz", "--json").stdout)
    assert [one["unit"] for one in found] == ["2:0", "2:1", "2:4", "0:2"]
    for one in found:
        expected = cs.open_atlas(atlas).exemplars(one["unit"])[:2]
        assert [tuple(each.values()) for each in one["exemplars"]] == expected
        assert one["files"] == [f"convscope-out/photos.{one['unit'].replace(':', '~')}.unit.top-2.npz"]
        with np.load(one["files"][0]) as saved:
            assert saved["images"].tolist() == [[image for _, image, *_ in expected]]


def test_a_layer_gets_a_contact_sheet_and_no_name_one_of_all_layers(cli, atlas: Path) -> None:
    lines = cli("unit", atlas, "0").stdout.splitlines()
    assert lines[0] == "What 6 units of 0 look for"
    assert "convscope-out/photos.0.contact.png" in lines
    (some,) = json.loads(cli("unit", atlas, "2", "--units", "1,5", "--json").stdout)
    assert [one["unit"] for one in some["units"]] == ["2:1", "2:5"]
    assert some["files"] == ["convscope-out/photos.2.contact.units-1,5.png"]
    assert "convscope-out/photos.layers.png" in cli("unit", atlas).stdout
    (together,) = json.loads(cli("unit", atlas, "2:1", "0:3", "--together", "--json").stdout)
    assert [one["unit"] for one in together["units"]] == ["0:3", "2:1"]


def test_deconvnet_pictures_are_made_with_the_network_and_photos_of_the_atlas(cli, atlas: Path) -> None:
    name = next(u for u in cs.open_atlas(atlas).units("2") if cs.open_atlas(atlas).exemplars(u)[0][0] > 0)
    assert cs.open_atlas(atlas).picture(name, 0, "deconv") is None
    cli("unit", atlas, name, "--deconv", "--top", 1)
    kept = cs.open_atlas(atlas)
    assert kept.picture(name, 0, "deconv") is not None
    assert kept.picture(name, 1, "deconv") is None


def test_photos_that_were_moved_are_named_by_data(cli, atlas: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "moved")
    cli("unit", atlas, "2:all", "--deconv", "--data", "moved")
    shown = cli("unit", atlas, "2:all", "--together", "--save", "html")
    assert "photos.2~all.layers.html" in shown.stdout


def test_a_picture_by_optimisation_is_kept_in_the_atlas(cli, atlas: Path) -> None:
    cli("unit", atlas, "2:1", "--synthetic", "--steps", 2)
    assert cs.open_atlas(atlas).picture("2:1", 0, "synthetic").size == (16, 16)


def test_a_contact_sheet_goes_without_filters_where_the_network_is_gone(cli, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "photos.atlas")
    lost = cs.load()
    assert lost.name == "bundled:tiny50"
    result = cli("unit", "photos.atlas", "0", "--model", "bundled:tiny50", code=2)
    assert "was made with" in result.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["2:99"], "unit 99 was asked for, but layer '2' has 8 units (0 to 7)"),
        (["3"], "no layer '3' in photos.atlas"),
        (["9:1"], "no layer '9' in photos.atlas"),
        (["2:1@0,0"], "2:1@0,0: an atlas knows whole units; name 2:1"),
        (["2", "--synthetic"], "--synthetic makes one picture a unit, for its dossier: name units"),
        (["2:1", "--steps", "5"], "--steps goes with --synthetic"),
        (["2:1", "--partial"], "--partial goes with --deconv"),
        (["2:1", "--units", "3"], "--units goes with a layer; units are LAYER:3,7"),
        (["--units", "3"], "--units goes with a layer"),
        (["2", "--units", "3", "--together"], "--together takes units as LAYER:3,7, not --units"),
        (["2", "--units", "3-1"], "--units '3-1': 3-1 runs backwards"),
        (["2:1", "--deconv", "--data", "nowhere"], "there is no"),
        (["2", "--save", "tiff"], "--save 'tiff' is none of png"),
    ],
)
def test_refusals_leave_no_files(cli, atlas: Path, tmp_path: Path, args: list[str], message: str) -> None:
    line = refused(lambda command, *rest, code: cli("unit", "photos.atlas", *rest, code=code), tmp_path, *args)
    assert line.startswith(message)


def test_what_is_no_atlas_is_refused(cli, atlas: Path, tmp_path: Path) -> None:
    line = refused(lambda command, *rest, code: cli("unit", *rest, code=code), tmp_path, "photo.atlas")
    assert line.startswith("there is no atlas photo.atlas; did you mean 'photos.atlas'")
