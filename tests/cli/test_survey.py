"""``convscope survey`` and ``export``. Surveys are proved in ``tests/atlases``; here the commands ask rightly."""

import csv
import json
from pathlib import Path

import pytest

import convscope as cs
from convscope.cli.survey import _stem
from convscope.dataset import computing
from convscope.writing import UnwritableError
from tests.atlases.surveyed import contents, differing, photo_folder

FEW = ("--shard", 8, "--batch", 4, "--top", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen pictures in folders of classes, two of which the network knows."""
    return photo_folder(tmp_path_factory.mktemp("data") / "photos")


def test_it_prints_the_atlas_and_names_it_after_the_data(cli, folder: Path, net: str) -> None:
    result = cli("survey", folder, "-m", net, "--labels", "groups", *FEW)
    assert result.stdout.splitlines()[-1] == "photos.atlas"
    assert "24 photos in photos" in result.stdout.splitlines()[0]
    assert result.stdout.splitlines()[2].split()[:4] == ["0", "6", "16", "3"]
    atlas = cs.open_atlas("photos.atlas")
    assert [layer.name for layer in atlas.layers] == ["0", "2"]
    assert atlas.about["network"]["spec"] == net
    assert atlas.classes == ("crane", "king penguin", "tabby")
    assert len(atlas.exemplars("0:0")) == 2


def test_json_says_what_was_made(cli, folder: Path, net: str) -> None:
    result = cli("survey", folder, "-m", net, "--out", "x.atlas", "-l", "2", "--labels", "groups", "--json", *FEW)
    said = json.loads(result.stdout)
    assert said == {
        "atlas": "x.atlas",
        "images": 24,
        "skipped": [],
        "layers": [{"name": "2", "units": 8, "dead": 0, "duplicates": said["layers"][0]["duplicates"]}],
        "classes": 3,
        "accuracy": pytest.approx(accuracy(cs.open_atlas("x.atlas"))),
    }


def test_of_few_images_duplicates_are_not_said_to_be_none(cli, folder: Path, net: str) -> None:
    """24 images; nine exemplars a unit ask for 36."""
    args = ("survey", folder, "-m", net, "-l", "2", "--no-pictures", "--labels", "groups", "--top", 9)
    assert "duplicates not looked for, with fewer than 36 images" in cli(*args, "--out", "x.atlas").stdout
    assert json.loads(cli(*args, "--out", "y.atlas", "--json").stdout)["layers"][0]["duplicates"] is None
    assert json.loads(cli("stats", "y.atlas", "2", "--json").stdout)[0]["duplicates"] is None


def accuracy(atlas: cs.Atlas) -> float:
    right, judged = (sum(each) for each in zip(*atlas.accuracy().values(), strict=True))
    return right / judged


def test_skipped_pictures_are_listed_and_the_code_is_1(cli, net: str, tmp_path: Path) -> None:
    photo_folder(tmp_path / "in", corrupt=3)
    result = cli("survey", "in", "-m", net, "--labels", "none", "--no-pictures", *FEW, code=1)
    assert "skipped crane/03.png: it is not a picture" in result.stderr
    atlas = cs.open_atlas("in.atlas")
    assert atlas.images == 23
    assert atlas.picture("0:0") is None


def test_results_among_the_photos_are_left_out_with_one_note(cli, net: str, tmp_path: Path) -> None:
    photo_folder(tmp_path / "in")
    photo_folder(tmp_path / "in" / "convscope-out")
    photo_folder(tmp_path / "in" / "tabby" / "convscope-out-2")
    result = cli("survey", "in", "-m", net, "--labels", "none", "--no-pictures", *FEW)
    assert cs.open_atlas("in.atlas").images == 24
    assert result.stderr.count("convscope-out") == 1
    assert "note: 2 folders are left out, the first convscope-out: what is in them convscope made" in result.stderr


def test_every_option_reaches_the_plan(cli, folder: Path, net: str) -> None:
    options = ("--per-image", 2, "--features", 5, "--patterns", "0", "--labels", "groups", "--threads", 1, "--deconv")
    cli("survey", folder, "-m", net, "-o", "x.atlas", "-l", "*", "--top", 3, "--batch", 3, "--shard", 7, *options)
    plan = json.loads(Path("x.atlas/plan.json").read_text())
    asked = {"top": 3, "per_image": 2, "batch": 3, "shard_size": 7, "features": 5, "pattern_layers": ["0"]}
    assert {name: plan[name] for name in asked} == asked
    assert plan["labels"] == "groups"
    assert {"0", "1", "2", "3"} <= set(plan["layers"])
    assert cs.open_atlas("x.atlas").picture("2:0", 0, "deconv") is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-l", "conv1"), "no layer 'conv1'"),
        (("--engine", "rey"), "--engine 'rey' is none of process, ray; did you mean 'ray'?"),
        (("--ray-address", "auto"), "--ray-address goes with --engine ray"),
        (("--labels", "folders"), "king penguin"),
        (("--labels", "nouns"), "nouns"),
        (("--layers", ""), "--layers '' names nothing; leave it out for the default"),
        (("--patterns", ","), "--patterns ',' names nothing"),
        (("--out", "cat.png"), "cat.png is the name of a picture; an atlas is a folder, such as cat.atlas"),
    ],
)
def test_a_refused_survey_leaves_no_files(cli, folder: Path, net: str, tmp_path: Path, options, said: str) -> None:
    result = cli("survey", folder, "-m", net, *FEW, *options, code=2)
    assert said in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_folder_is_refused_with_the_nearest(cli, folder: Path, net: str) -> None:
    assert "did you mean 'photos'" in cli("survey", folder.parent / "photo", "-m", net, code=2).stderr


def test_a_full_disk_is_refused_and_resume_goes_on(
    cli, folder: Path, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UnwritableError("cannot write x.atlas: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(computing, "write_part", full)
        result = cli("survey", folder, "-m", net, "-o", "x.atlas", "--labels", "none", *FEW, code=2)
    assert "No space left" in result.stderr
    assert "the same command with --resume goes on from here" in result.stderr
    assert (
        "--resume goes on" in cli("survey", folder, "-m", net, "-o", "x.atlas", "--labels", "none", *FEW, code=2).stderr
    )
    cli("survey", folder, "-m", net, "-o", "x.atlas", "--labels", "none", "--resume", *FEW)
    assert "nothing is left to do" in cli("survey", folder, "-m", net, "-o", "x.atlas", "--resume").stderr
    cli("survey", folder, "-m", net, "-o", "y.atlas", "--labels", "none", *FEW)
    assert differing(contents(Path("x.atlas")), contents(Path("y.atlas"))) == []


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("photos.v1", "photos.v1"), ("a/photos.v2/", "photos.v2"), ("photos", "photos"), ("in.zip", "in"),
        ("a/in.v1.tar.gz", "in.v1"), ("in.TGZ", "in"), ("hf:org/cats.v2", "cats.v2"), (".", "here.too"),
    ],
)  # fmt: skip
def test_an_atlas_is_called_as_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, name: str) -> None:
    (tmp_path / "here.too").mkdir()
    monkeypatch.chdir(tmp_path / "here.too")
    assert _stem(data) == name


def test_a_folder_that_ends_as_an_archive_keeps_its_name(cli, net: str, tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos.zip")
    cli("survey", "photos.zip", "-m", net, "--labels", "none", "--no-pictures", *FEW)
    assert Path("photos.zip.atlas").is_dir()


def test_resume_on_a_finished_atlas_refuses_what_it_is_not(cli, folder: Path, net: str) -> None:
    same = ("survey", folder, "-m", net, "-o", "x.atlas", "--labels", "none", "--no-pictures", "--resume")
    cli(*same, *FEW)
    before = contents(Path("x.atlas"))
    assert "nothing is left to do" in cli(*same, *FEW).stderr
    assert "top 2, not with 9" in cli(*same, "--top", 9, code=2).stderr  # the default, said explicitly
    assert "without pictures, not with" in cli(*same, "--pictures", code=2).stderr
    assert "another network" in cli(*same, "-m", "bundled:tiny50", code=2).stderr
    assert differing(contents(Path("x.atlas")), before) == []


# ---- export


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.fixture
def made(cli, folder: Path, net: str) -> cs.Atlas:
    cli("survey", folder, "-m", net, "-o", "x.atlas", "--labels", "groups", *FEW)
    return cs.open_atlas("x.atlas")


def test_csv_says_what_the_atlas_says_by_name(cli, made: cs.Atlas) -> None:
    result = cli("export", "x.atlas", "--csv", "out")
    assert result.stdout.split() == [f"out/{path.name}" for path in map(Path, result.stdout.split())]
    units = {f"{row['layer']}:{row['unit']}": row for row in rows(Path("out/units.csv"))}
    assert list(units) == [*made.units("0"), *made.units("2")]
    for unit, row in units.items():
        said = made.statistics(unit)
        assert float(row["mean"]) == said["mean"]
        assert float(row["q0.5"]) == said["quantiles"][0.5]
        assert row["class"] == said["class"]
        of_unit = [r for r in rows(Path("out/exemplars.csv")) if f"{r['layer']}:{r['unit']}" == unit]
        found = [(float(r["value"]), r["image"], int(r["y"]), int(r["x"])) for r in of_unit]
        assert found == made.exemplars(unit)
        counts = [int(r["count"]) for r in rows(Path("out/histograms.csv")) if f"{r['layer']}:{r['unit']}" == unit]
        assert sum(counts) == said["histogram"][1].sum()
    by_class = [r for r in rows(Path("out/unit_classes.csv")) if (r["layer"], r["unit"]) == ("2", "5")]
    expected = made.statistics("2:5")["by_class"]
    assert {r["class"]: float(r["mean"]) for r in by_class} == {name: row["mean"] for name, row in expected.items()}
    assert [r["image"] for r in rows(Path("out/images.csv"))][:2] == ["crane/00.png", "crane/01.png"]
    assert rows(Path("out/images.csv"))[0]["label"] == "crane"


def test_parquet_has_the_same_rows(cli, made: cs.Atlas) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    cli("export", "x.atlas", "--csv", "out", "--parquet", "out", "--json")
    for file in Path("out").glob("*.csv"):
        table = parquet.read_table(file.with_suffix(".parquet")).to_pylist()
        as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in table]
        assert as_text == rows(file), file


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x.atlas",), "--csv FOLDER or --parquet FOLDER"),
        (("x.atlas", "--csv", "x.atlas/tables"), "lies inside the atlas"),
        (("y.atlas", "--csv", "out"), "there is no atlas y.atlas; did you mean 'x.atlas'"),
    ],
)
def test_an_export_that_is_refused_leaves_no_files(cli, made: cs.Atlas, tmp_path: Path, arguments, said: str) -> None:
    assert said in cli("export", *arguments, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.atlas"]
