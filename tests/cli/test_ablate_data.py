"""``convscope ablate`` over a data set: table, sheet and numbers are the library's; interrupted runs go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases.data_ablations import ablate_data
from tests import friendly


@pytest.fixture
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


@pytest.fixture
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of twelve photos each, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("data") / "animals"
    for place, name in enumerate(("lion", "tabby")):
        (folder / name).mkdir(parents=True)
        for seed in range(12):
            colour = np.random.default_rng(100 * place + seed).integers(0, 256, 3, dtype=np.uint8)
            pixels = np.asarray(friendly.photo(20, 20, 100 * place + seed)) // 3 + colour // 3 * 2
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{seed:02}.png")
    (folder / "lion" / "05b.png").write_text("no picture")
    return folder


def files(folder: str = "convscope-out") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_json_ranks_the_units_of_a_layer_with_counts(cli, animals: Path, net: str, small) -> None:
    result = cli("ablate", animals, "--model", net, "--layer", "3", "--save", "npz,png", "--json", code=1)
    found, expected = json.loads(result.stdout), ablate_data(small, animals, layer="3", threads=1)
    effects = expected.effects
    assert found["data"] == "25 photos in animals"
    assert (found["images"], found["judged_by"], found["mode"]) == (24, "labels", "zero")
    assert list(found["skipped"]) == ["lion/05b.png"]
    assert "skipped lion/05b.png: " in result.stderr
    assert found["classes"] == ["lion", "tabby"]
    assert found["accuracy"] == effects.accuracy
    assert found["by_class"] == {"images": [12, 12], "correct": effects.right.tolist()}
    assert [one["unit"] for one in found["units"]] == [f"3:{number}" for number in expected.ranking]
    for one, number in zip(found["units"], expected.ranking, strict=True):
        assert one["correct"] == effects.right_without[number].sum() == effects.right.sum() - one["lost"] + one["won"]
        assert one["points_lost"] == pytest.approx(100 * (one["lost"] - one["won"]) / 24)
        assert one["logit_drop"] == pytest.approx(effects.mean_logit_drop[number])
        assert one["by_class"]["correct"] == effects.right_without[number].tolist()
        np.testing.assert_allclose(one["by_class"]["points_lost"], effects.lost_by_class[number])
    assert len({one["correct"] for one in found["units"]}) > 1
    assert found["files"] == [f"convscope-out/animals.ablate.3.{ending}" for ending in ("npz", "png")]
    assert files() == ["animals.ablate.3.npz", "animals.ablate.3.png"]  # nothing is left of what was put aside
    with np.load(found["files"][0]) as saved:
        np.testing.assert_array_equal(saved["right_without"], effects.right_without)
        assert saved["units"].tolist() == [f"3:{number}" for number in range(8)]


def test_the_table_has_the_most_costly_first(cli, animals: Path, net: str, small) -> None:
    result = cli("ablate", animals, "--model", net, "--layer", "3", "--top", 3, "--save", "npz", code=1)
    expected = ablate_data(small, animals, layer="3")
    title, summary, head, *rows, more, file = result.stdout.splitlines()
    assert title == "3:0-7 at zero, one at a time, over 25 photos in animals"
    assert summary == expected.summary
    assert summary.startswith(f"Intact: {100 * expected.effects.accuracy:.1f} % right (")
    assert head.split()[:3] == ["rank", "unit", "accuracy"]
    assert [row.split()[:2] for row in rows] == [[str(i + 1), f"3:{expected.ranking[i]}"] for i in range(3)]
    assert (more, file) == ("5 more units: --top 8 shows all", "convscope-out/animals.ablate.3.npz")


def test_files_of_other_requests_do_not_write_over_each_other(cli, animals: Path, net: str) -> None:
    (animals / "lion" / "05b.png").unlink()
    of_layers = (["3"], ["3,1"], ["3", "--labels", "none"])
    of_units = ([], ["--together"], ["--mode", "mean"])
    for args in (*(["--layer", *rest] for rest in of_layers), *(["--unit", "3:1,2", *rest] for rest in of_units)):
        cli("ablate", animals, "--model", net, *args, "--save", "npz")
    kinds = ["3", "3~1,2", "3~1,2+together", "3~1,2+mean", "3+1", "3+none"]
    assert files() == sorted(f"animals.ablate.{kind}.npz" for kind in kinds)


def test_together_and_the_mean(cli, animals: Path, net: str, small) -> None:
    (animals / "lion" / "05b.png").unlink()
    args = ("--unit", "3:1", "--unit", "1:0-2", "--mode", "mean", "--together", "--save", "npz", "--json")
    (one,) = json.loads(cli("ablate", animals, "--model", net, *args).stdout)["units"]
    assert one["unit"] == "3:1 and 1:0-2"
    expected = ablate_data(small, animals, ["3:1", "1:0-2"], mode="mean", together=True)
    assert one["logit_drop"] == pytest.approx(float(expected.effects.mean_logit_drop[0]))
    alone = ablate_data(small, animals, ["3:1", "1:0-2"], mode="mean")
    assert len(alone.sets) == 4


def test_an_archive_is_as_its_folder(cli, animals: Path, net: str) -> None:
    archive = shutil.make_archive("animals", "zip", animals)
    args = ("--model", net, "--unit", "3:1,2", "--save", "npz", "--json")
    first, second = (json.loads(cli("ablate", path, *args, code=1).stdout) for path in (animals, archive))
    assert first["units"] == second["units"]


def test_interrupted_it_goes_on(cli, animals: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off after 16 of 25 images; --resume does the rest only, and the numbers are those of one run."""
    from convscope.atlases import data_ablations
    from convscope.cli import kept_work

    args = ("ablate", animals, "--model", net, "--layer", "3", "--save", "npz", "--json")
    whole = json.loads(cli(*args, code=1).stdout)
    shutil.rmtree("convscope-out")
    monkeypatch.setattr(kept_work, "SECONDS_BETWEEN", 0.0)
    sweep, steps = data_ablations.ablation_sweep, []

    def broken_off(*given, on_step, **options):
        def step(done: int) -> None:
            steps.append(done)
            if stops and done >= 24:
                raise KeyboardInterrupt
            on_step(done)

        return sweep(*given, on_step=step, **options)

    monkeypatch.setattr(data_ablations, "ablation_sweep", broken_off)
    stops = True
    result = cli(*args, code=130)
    assert "the same command with --resume goes on from here" in result.stderr
    assert result.stdout == ""
    stops, steps[:] = False, []
    again = cli(*args, "--resume", code=1)
    assert steps == [24, 25]  # the third batch again, since it was not kept, and the last
    assert json.loads(again.stdout) == whole
    assert files() == ["animals.ablate.3.npz"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "which units? Give --unit LAYER:NUMBERS"),
        (["--unit", "3:0", "--layer", "3"], "both units and a layer were given"),
        (["--unit", "3"], "'3' names no unit; give LAYER:3"),
        (["--unit", "3:8"], "unit 8 was asked for, but layer '3' has 8 units (0 to 7)"),
        (["--unit", "3:0@16,0"], "position 16,0 was asked for, but layer '3' has a map of 16 x 16"),
        (["--layer", "33"], "no layer '33' in Sequential"),
        (["--layer", "3", "--mode", "resample"], "no mode 'resample'; there are zero, mean; over a data set"),
        (["--layer", "3", "--mode", "maen"], "no mode 'maen'; did you mean 'mean'?"),
        (["--layer", "3", "--target", "lion"], "--target changes nothing over a data set: all classes are followed"),
        (["--layer", "3", "--data", "."], "--data changes nothing over a data set: the mean is taken over"),
        (["--layer", "3", "--count", "2"], "--count changes nothing over a data set"),
        (["--layer", "3", "--seed", "0"], "--seed changes nothing over a data set"),
        (["--layer", "3", "--labels", "folder"], "no labels 'folder'; did you mean 'folders'"),
        (["--layer", "3", "--into", "nowhere.atlas"], "there is no atlas nowhere.atlas"),
        (["--layer", "3", "--together", "--into", "x.atlas"], "--into keeps what each unit costs alone"),
        (["--layer", "3", "--save", "tiff"], "--save 'tiff' is none of png"),
    ],
)
def test_what_makes_no_sense_writes_nothing(
    cli, tmp_path: Path, animals: Path, net: str, args: list[str], message: str
) -> None:
    result = cli("ablate", animals, "--model", net, *args, code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"convscope: {message}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "args", [["--together"], ["--labels", "none"], ["--top", "3"], ["--resume"], ["--threads", "2"]]
)
def test_what_is_for_data_only_is_refused_for_a_picture(cli, photos: Path, net: str, args: list[str]) -> None:
    result = cli("ablate", photos / "cat.jpg", "--model", net, "--unit", "3:0", *args, code=2)
    assert f"convscope: {args[0]} is for units over a data set (a folder without --each)" in result.stderr
