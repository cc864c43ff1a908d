"""``convscope training``. Oracles: the run that was written, exit codes, files."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.trainings.runs import HELD_OUT, TRAIN, embedded, usual
from tests.trainings.test_training_run import damage


def test_the_epochs_and_the_page(cli, tmp_path: Path) -> None:
    done = cli("training", str(usual(tmp_path)), "--animate", "none")
    lines = done.stdout.splitlines()
    rows = [line.split() for line in lines if line.strip().startswith(("0 ", "1 ", "* 2", "3 "))]
    assert rows[0] == ["0", f"{TRAIN[0]:.4f}", "33.3%", f"{HELD_OUT[0]:.4f}", "33.3%"]
    assert rows[2] == ["*", "2", f"{TRAIN[2]:.4f}", "75.0%", f"{HELD_OUT[2]:.4f}", "75.0%"]
    assert len(rows) == 4
    assert "dog called hen (3 of 4, since epoch 2)" in done.stdout
    page = Path(lines[-1])
    assert page == tmp_path / "a.run" / "report" / "index.html"
    assert page.is_file()
    assert not list(page.parent.glob("*.film.*"))


def test_json_is_one_document_with_every_number(cli, tmp_path: Path) -> None:
    folder, out = usual(tmp_path), tmp_path / "page"
    done = cli("training", str(folder), "--json", "--out", str(out), "--save", "npz", "--animate", "gif")
    said = json.loads(done.stdout)
    assert [epoch["held out"]["loss"] for epoch in said["epochs"]] == list(HELD_OUT)
    assert said["lowest"] == {"split": "held out", "epoch": 2}
    assert (said["state"], said["broken"], said["missing"]) == ("finished", {}, [])
    assert sorted(map(Path, said["files"])) == sorted(file for file in out.iterdir() if file.name != "index.html")
    assert {Path(file).suffix for file in said["files"]} == {".png", ".npz", ".gif"}
    with np.load(out / "layers.npz") as kept:
        assert kept["layers"].tolist() == ["conv1", "relu1", "frozen"]


def test_the_images_are_laid_out_anew(cli, tmp_path: Path) -> None:
    folder = usual(tmp_path, (0, 1))
    cli("training", str(folder), "--animate", "none", "--save", "npz", "--embedding", "T-SNE")
    with np.load(folder / "report" / "embedding.npz") as kept:
        assert not np.allclose(kept["points"], np.stack([embedded(epoch).points for epoch in (0, 1)]), atol=1)


def test_a_damaged_snapshot_is_said_and_the_exit_code_is_one(cli, tmp_path: Path) -> None:
    folder = usual(tmp_path)
    damage(folder, 1)
    done = cli("training", str(folder), "--animate", "none", code=1)
    assert "skipped epoch 1" in done.stderr
    assert "not all is there: damaged and left out: epoch 1" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--animate", "avi"], "no animation 'avi'"),
        (["--embedding", "tsne"], "no embedding 'tsne' of a training; did you mean 't-sne'"),
        (["--save", "bmp"], "--save 'bmp' is none of"),
        (["--out", "x.atlas"], "is the name of an atlas"),
    ],
)
def test_what_is_refused_leaves_nothing(cli, tmp_path: Path, options: list[str], said: str) -> None:
    folder = usual(tmp_path)
    done = cli("training", str(folder), *options, code=2)
    assert said in done.stderr
    assert not (folder / "report").exists()


def test_no_training_names_the_nearest(cli, tmp_path: Path) -> None:
    usual(tmp_path)
    done = cli("training", str(tmp_path / "b.run"), code=2)
    assert "did you mean 'a.run'" in done.stderr
