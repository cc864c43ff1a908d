"""``stats``, ``prototypes``, ``neighbours`` and ``explain --prototypes``: what is written and what is refused.

The numbers are proved in ``tests/atlases``.
"""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases.surveying import survey
from convscope.network.evaluation import evaluation
from tests.cli.test_explain_refusals import refused


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighteen pictures of three classes, one of which the network has twice."""
    folder, random = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for number in range(18):
        name = ("tabby", "lion", "crane")[number % 3]
        (folder / name).mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        rough.resize((16, 16), Image.Resampling.BICUBIC).save(folder / name / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def atlas(net: str, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "zoo.atlas"
    with torch.random.fork_rng(devices=[]):
        survey(cs.load(net), labelled, out, ["0", "2"], top=3, patterns=["2"])
    return out


def test_stats_of_the_network(cli, atlas: Path) -> None:
    shown = cli("stats", atlas)
    files = [line for line in shown.stdout.splitlines() if line.startswith("convscope-out")]
    assert files == ["convscope-out/zoo.stats.png", "convscope-out/zoo.confusion.png"]
    assert "2 layers, 14 units" in shown.stdout
    network, answers = json.loads(cli("stats", atlas, "--save", "npz", "--json").stdout)
    assert [layer["layer"] for layer in network["layers"]] == ["0", "2"]
    assert sum(each["judged"] for each in answers["classes"]) == answers["images"] == 18
    with np.load(answers["files"][0]) as saved:
        assert saved["counts"].sum() == 18


def test_without_answers_there_are_the_layers_still(cli, atlas: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a network without a head, or one whose scores are not finite."""
    monkeypatch.setattr(cs.Atlas, "confusion", lambda _: [])
    assert [Path(each["files"][0]).name for each in json.loads(cli("stats", atlas, "--json").stdout)] == [
        "zoo.stats.png"
    ]


def test_stats_of_a_layer_and_a_unit(cli, atlas: Path) -> None:
    args = ("stats", atlas, "2", "2:5", "--class", "Lion", "--rank", "difference", "--save", "npz", "--json")
    assert "--class and --units belong to a layer" in cli(*args, code=2).stderr
    layer, bars, maps = json.loads(cli(*[a for a in args if a != "2:5"]).stdout)
    assert layer["files"] == ["convscope-out/zoo.2.stats.npz"]
    assert bars["files"] == ["convscope-out/zoo.2.classes.difference.Lion.npz"]
    assert maps["files"] == ["convscope-out/zoo.2.patterns.Lion.npz"]
    assert [each["class"] for each in bars["classes"]] == ["lion"]
    assert [unit["unit"] for unit in layer["units"]] == [f"2:{k}" for k in range(8)]
    assert set(maps["ranks"]["lion"].values()) == set(range(1, 9))
    (unit,) = json.loads(cli("stats", atlas, "2:5", "--save", "npz", "--json").stdout)
    assert unit["unit"] == "2:5"
    assert set(unit["by_class"]) == {"tabby", "lion", "crane"}
    assert unit["class"] == next(iter(unit["rectified_by_class"]))
    several = json.loads(cli("stats", atlas, "2:1,3-4", "--json").stdout)
    assert [each["unit"] for each in several] == ["2:1", "2:3", "2:4"]
    shown = cli("stats", atlas, "2", "--units", "0-2").stdout
    assert "convscope-out/zoo.2.patterns.png" in shown
    assert shown.index("2:0") < shown.index("2:7")


def test_prototypes_and_suspects(cli, atlas: Path, labelled: Path, net: str) -> None:
    """Oracle: the logits of each photo, one by one."""
    made = json.loads(cli("prototypes", atlas, "--json").stdout)
    assert made["files"] == ["convscope-out/zoo.prototypes.png"]
    with torch.random.fork_rng(devices=[]):
        loaded = cs.load(net)
    logits = {}
    for path in sorted(labelled.rglob("*.png")):
        with evaluation(loaded.module), torch.no_grad():
            logits[path.relative_to(labelled).as_posix()] = loaded.module(loaded.input_of(cs.read_image(path)))[0]
    for each in made["classes"]:
        right = [i for i, name in enumerate(loaded.classes) if name == each["class"]]
        own = {name: v for name, v in logits.items() if name.startswith(each["class"])}
        surest = max(own, key=lambda name: float(own[name].softmax(0)[right].sum()))
        assert each["least_loss"][0]["image"] == surest
        assert each["largest_logit"][0]["image"] == max(own, key=lambda name: float(own[name][right].max()))
    shown = cli("prototypes", atlas, "--class", "crane").stdout
    assert "convscope-out/zoo.prototypes.crane.png" in shown
    suspects = json.loads(cli("prototypes", atlas, "--suspects", 2, "--json").stdout)["suspects"]
    losses = [each["loss"] for each in suspects]
    assert len(losses) == 2
    assert "of largest loss of" in cli("prototypes", atlas, "--suspects", 2).stdout
    assert losses == sorted(losses, reverse=True)


def test_neighbours(cli, atlas: Path) -> None:
    made = json.loads(cli("neighbours", atlas, "2:3", "--top", 2, "--json").stdout)
    assert made["files"] == ["convscope-out/zoo.neighbours.2~3.png"]
    ids, features = cs.open_atlas(atlas).features("2")
    assert len(ids) == 18
    wanted = np.corrcoef(np.asarray(features, float).T)[3]
    order = [k for k in np.argsort(-wanted, kind="stable") if k != 3 and wanted[k] > 0][:2]
    assert made["images"] == 18
    assert "over 18 images" in cli("neighbours", atlas, "2:1,3").stdout
    assert [each["unit"] for each in made["units"][0]["neighbours"]] == [f"2:{k}" for k in order]
    shown = cli("neighbours", atlas, "0", "--most", 2).stdout
    assert shown.splitlines()[-1] == "convscope-out/zoo.neighbours.0.png"


def test_prototypes_are_explained_for_their_own_class(cli, atlas: Path, sheets: dict) -> None:
    args = ("--prototypes", atlas, "-t", "lion", "-t", "tabby", "--method", "grad-cam,gradient", "--json")
    made = json.loads(cli("explain", *args).stdout)
    assert made[0]["files"] == ["convscope-out/zoo.prototypes.lion+tabby.grad-cam+gradient.png"]
    (sheet,) = sheets.values()
    assert sheet.row_headings == ("lion", "tabby")
    assert {key: one.target for key, one in sheet.explanations.items()} == {
        f"{name}|{method}": name for name in ("lion", "tabby") for method in ("grad-cam", "gradient")
    }
    best = {name: cs.open_atlas(atlas).prototypes(name)["least loss"][0] for name in ("lion", "tabby")}
    for name, row in best.items():
        seen = sheet.explanations[f"{name}|grad-cam"].prediction
        assert seen is not None
        assert float(-seen.logits.log_softmax(0)[seen_class(name)]) == pytest.approx(row["loss"], rel=1e-4, abs=1e-6)


def seen_class(name: str) -> int:
    return ["tabby", "lion"].index(name)


def test_all_classes_are_explained_where_none_is_named(cli, atlas: Path, sheets: dict) -> None:
    cli("explain", "--prototypes", atlas, "--method", "gradient")
    ((name, sheet),) = sheets.items()
    assert name == "zoo.prototypes.gradient.png"
    assert sheet.row_headings == ("crane", "lion", "tabby")
    assert sheet.explanations["crane|gradient"].target == "crane"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["stats", "zoo.atlas"], "there is no atlas zoo.atlas"),
        (["stats", "ATLAS", "3"], "no layer '3' in zoo.atlas"),
        (["stats", "ATLAS", "2:8"], "unit 8 was asked for, but layer '2' has 8 units"),
        (["stats", "ATLAS", "2", "--class", "lyon"], "no class 'lyon' in the atlas; did you mean 'lion'"),
        (["stats", "ATLAS", "2", "--rank", "max"], "no rank 'max'"),
        (["stats", "ATLAS", "--units", "1"], "--units belongs to a layer"),
        (["stats", "ATLAS", "0", "--units", "1"], "mean patterns of 0 were not kept in zoo.atlas: those of 2 were"),
        (["stats", "ATLAS", "2", "--save", "tiff"], "--save 'tiff' is none of png"),
        (["prototypes", "ATLAS", "--class", "lyon"], "no class 'lyon' in the atlas"),
        (["prototypes", "ATLAS", "--class", "lion", "--suspects", "3"], "--suspects are those of all classes"),
        (["prototypes", "ATLAS", "--data", "nowhere"], "there is no folder or archive nowhere"),
        (["neighbours", "ATLAS", "2:99"], "unit 99 was asked for, but layer '2' has 8 units"),
        (["explain", "--prototypes", "ATLAS", "--demo"], "--prototypes takes photos and network from the atlas"),
        (["explain", "--prototypes", "ATLAS", "--size", "9"], "--prototypes takes photos and network from the atlas"),
        (["explain", "--prototypes", "ATLAS", "-t", "lyon"], "no class 'lyon' in the atlas; did you mean 'lion'"),
        (["explain", "--prototypes", "ATLAS", "-m", "bundled:tiny50"], "zoo.atlas was made with"),
        (["explain", "--demo", "--data", "somewhere"], "--data says where the photos of --prototypes are"),
    ],
)
def test_refusals_leave_no_files(cli, atlas: Path, tmp_path: Path, args: list[str], message: str) -> None:
    given = [str(atlas) if each == "ATLAS" else each for each in args]
    line = refused(lambda _, *rest, code: cli(*rest, code=code), tmp_path, *given)
    assert line.startswith(message)


def test_a_network_and_photos_that_were_moved(cli, atlas: Path, labelled: Path, net: str, tmp_path: Path) -> None:
    """The atlas says what is missing; what is given instead is taken, and weights that differ are refused."""
    moved = tmp_path / "here" / "zoo.atlas"
    shutil.copytree(atlas, moved)
    base = moved / "atlas.sqlite"
    network = dict(cs.open_atlas(atlas).about["network"])
    spec = network["spec"]
    with closing(sqlite3.connect(base)) as tables, tables:
        gone = json.dumps({**network, "spec": spec.replace("net.py", "gone.py")})
        tables.execute("UPDATE about SET value = ? WHERE key = 'network'", (gone,))
        tables.execute("UPDATE about SET value = ? WHERE key = 'data'", (json.dumps(str(tmp_path / "gone")),))
    args = ("explain", "--prototypes", moved, "--method", "gradient")
    assert "the photos of zoo.atlas are not where they were" in cli(*args, code=2).stderr
    assert "say where it is with --model" in cli(*args, "--data", labelled, code=2).stderr
    cli(*args, "--data", labelled, "--model", net)
    assert "prototypes.png" in cli("prototypes", moved, "--data", labelled).stdout
