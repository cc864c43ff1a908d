"""``convscope dissect``. The numbers are proved in ``tests/dataset``; here the command asks for the right ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases.dissections import dissect
from convscope.dataset.image_sources import source_of
from tests.cli.test_explain_refusals import refused


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("annotated")
    rng, rows = np.random.default_rng(0), ["path,x0,y0,x1,y1"]
    for number in range(6):
        name = f"{('tabby', 'lion')[number % 2]}/{number}.png"
        for kind, values in (
            ("photos", rng.integers(0, 256, (18, 20, 3))),
            ("masks", np.full((18, 20), 1 + number % 2)),
        ):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(folder / kind / name)
        rows.append(f"{name},2,2,12,12")
    (folder / "boxes.csv").write_text("\n".join(rows))
    (folder / "names.csv").write_text("number,name\n1,sky\n2,sea\n")
    return folder


def loaded(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


def test_a_sheet_and_a_table_a_layer(cli, data: Path, net: str) -> None:
    args = ("--boxes", data / "boxes.csv", "--model", net, "--layer", "1,3", "--level", 0.1, "--iou", 0.01)
    result = cli("dissect", data / "photos", *args, "--photos", 2, "--most", 2)
    names = [f"convscope-out/photos.net.py~make.{layer}.dissected.png" for layer in ("1", "3")]
    assert [line for line in result.stdout.splitlines() if line in names] == names
    assert result.stderr == ""
    expected = dissect(loaded(net), data / "photos", data / "boxes.csv", layers=["1", "3"], level=0.1, least=0.01)
    for layer, found in expected.items():
        assert found.title in result.stdout
        for unit, concept, iou in found.detectors[:20]:
            (line,) = [line for line in result.stdout.splitlines() if line.startswith(f"{layer}:{unit} ")]
            assert line.split()[1:3] == [concept, f"{iou:.3f}"]
    with Image.open(names[0]) as sheet:
        assert sheet.width > 500


def test_without_a_detector_there_are_words_in_place_of_the_table(cli, data: Path, net: str) -> None:
    """Boxes of a third of each photo, and regions of half a per cent."""
    args = ("--boxes", data / "boxes.csv", "--model", net, "--layer", "3")
    lines = cli("dissect", data / "photos", *args, "--save", "npz").stdout.splitlines()
    found = dissect(loaded(net), data / "photos", data / "boxes.csv", layers=["3"])["3"]
    assert found.detectors == []
    unit, concept = np.unravel_index(found.table.iou.argmax(), found.table.iou.shape)
    assert lines[0] == "0 of 8 units of 3 detect 0 concepts"
    nearest = f"unit {unit} with {found.table.concepts[concept]}"
    assert (
        lines[1]
        == f"no detector: the largest IoU is {found.table.iou.max():.3f}, of {nearest}; a detector's is above 0.04"
    )
    assert lines[2].startswith("too large or too small to be detected: ")
    assert not [line for line in lines if line.startswith("unit")]


def test_an_atlas_is_no_folder_for_sheets(cli, data: Path, net: str, tmp_path: Path) -> None:
    atlas = tmp_path / "photos.atlas"
    args = ("--boxes", data / "boxes.csv", "--model", net, "--out")
    new = cli("dissect", data / "photos", *args, atlas, code=2)
    assert "photos.atlas" in new.stderr
    assert "an atlas" in new.stderr
    assert not atlas.exists()
    atlas = tmp_path / "called_otherwise"
    (atlas / "images").mkdir(parents=True)
    for name in ("manifest.json", "plan.json"):
        (atlas / name).write_text("{}")
    for out, said in ((atlas, "called_otherwise: it is an atlas"), (atlas / "images", "called_otherwise is an atlas")):
        assert said in cli("dissect", data / "photos", *args, out, code=2).stderr
    assert sorted(each.name for each in atlas.rglob("*")) == ["images", "manifest.json", "plan.json"]


def test_masks_with_names_as_json(cli, data: Path, net: str) -> None:
    args = ("--masks", data / "masks", "--names", data / "names.csv", "--model", net, "--level", 0.1, "--save", "npz")
    (entry,) = json.loads(cli("dissect", data / "photos", *args, "--units", "0,2", "--json").stdout)
    found = dissect(loaded(net), data / "photos", masks=data / "masks", names=data / "names.csv", level=0.1)["3"]
    assert entry["files"] == ["convscope-out/photos.net.py~make.3.dissected.units-0,2.npz"]
    assert [row["unit"] for row in entry["detectors"]] == [unit for unit, _, _ in found.detectors]
    assert {row["concept"] for row in entry["detectors"]} <= {"sky", "sea"}
    with np.load(entry["files"][0]) as arrays:
        np.testing.assert_array_equal(arrays["intersections"], found.table.intersections)


def test_a_photo_that_cannot_be_read_is_named_and_the_exit_code_says_so(cli, data: Path, net: str, tmp_path) -> None:
    for file in (data / "photos").rglob("*.png"):
        target = tmp_path / "in" / file.relative_to(data / "photos")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    (tmp_path / "in" / "tabby" / "0.png").write_text("no picture")
    args = ("--boxes", data / "boxes.csv", "--model", net, "--save", "npz")
    assert cli("dissect", tmp_path / "in", *args, code=1).stderr.startswith("skipped tabby/0.png: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "give --boxes FILE or --masks FOLDER, one of the two"),
        (["--boxes", "boxes.csv", "--masks", "masks"], "give --boxes FILE or --masks FOLDER, one of the two"),
        (["--boxes", "boxes.csv", "--names", "names.csv"], "--names goes with --masks"),
        (["--boxes", "boxes.csv", "--layer", "9"], "no layer '9'"),
        (["--boxes", "boxes.csv", "--level", "3"], "level=3.0: a share between 0 and 1"),
        (["--boxes", "boxes.csv", "--iou", "4"], "least=4: "),
        (["--boxes", "boxes.csv", "--layer", "6"], "layer '6' gives one number an image"),
        (["--boxes", "boxes.csv", "--units", "99"], "unit 99 was asked for"),
        (["--boxes", "boxes.csv", "--units", "a"], "--units 'a': give numbers"),
        (["--boxes", "names.csv"], "names.csv has no column 'path'"),
        (["--masks", "nothing"], "nothing is no folder of masks"),
    ],
)
def test_refusals_leave_no_files(cli, tmp_path: Path, data: Path, net: str, args: list[str], message: str) -> None:
    placed = [str(data / arg) if arg.endswith(("csv", "masks", "nothing")) and arg[0] != "-" else arg for arg in args]
    line = refused(
        lambda _, *rest, code: cli("dissect", *rest, code=code), tmp_path, data / "photos", *placed, "--model", net
    )
    assert message in line


def test_an_interruption_ends_it_at_once_and_leaves_no_files(cli, data: Path, net: str, monkeypatch) -> None:
    reads = []

    def read(source, name: str):
        reads.append(name)
        if len(reads) == 3:
            raise KeyboardInterrupt
        return whole(source, name)

    kind = type(source_of(data / "photos"))
    whole = kind.read
    monkeypatch.setattr(kind, "read", read)
    result = cli("dissect", data / "photos", "--boxes", data / "boxes.csv", "--model", net, code=130)
    assert result.stderr == "convscope: interrupted; what was written stays\n"
    assert len(reads) == 3
    assert not list(Path("convscope-out").glob("*"))
