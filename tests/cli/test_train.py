"""``convscope train``. What it computes is proved in ``tests/training``; here the command asks and says rightly."""

import json
from pathlib import Path

import pytest

import convscope as cs
from convscope.store.run_folder import CHECKPOINT, WEIGHTS, training_of
from convscope.training.checkpoints import finished_facts
from convscope.trainings import run_making
from convscope.writing import UnwritableError
from tests.cli.struck_training import struck
from tests.training.folders import CLASSES, colour_folders

BRIEF = ("--net", "tiny", "--epochs", 3, "--batch", 8, "--augment", "none")
QUICK = (*BRIEF, "--no-report")

FACTORY = """
from torch import nn

SIZE = 16
MEAN = STD = (0.5, 0.5, 0.5)


def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return colour_folders(tmp_path / "colours")


def test_it_says_what_learns_how_it_learns_and_how_well(cli, folder: Path) -> None:
    result = cli("train", "colours", *BRIEF)
    assert "conv1" in result.stdout
    assert "colours: 18 images to train on, 6 held out, 3 classes" in result.stdout
    assert "all parameters learn\n3 epochs, batches of 8, adam, learning rate 0.001 (cosine), seed 0" in result.stdout
    assert [line.split()[:2] for line in result.stderr.splitlines() if line.startswith("epoch")] == [
        ["epoch", str(k)] for k in (1, 2, 3)
    ]
    said = finished_facts(Path("colours.run"))
    right = sum(row[k] for k, row in enumerate(said["confusion"]))
    assert "after epoch 3, the last:" in result.stdout
    assert f"of the 6 held-out images answered rightly, {6 - right} wrongly" in result.stdout
    assert result.stdout.splitlines()[-2:] == ["colours.run", "colours.run/report/index.html"]
    assert Path("colours.run/report/index.html").is_file()


def test_the_folder_is_a_model(cli, folder: Path) -> None:
    cli("train", "colours", *QUICK, "--out", "x.run")
    net = cs.load("x.run")
    assert net.classes == CLASSES
    facts = finished_facts(Path("x.run"))
    wrong = [
        name
        for name in held_out_names(facts, folder)
        if cs.predict(net, folder / name, k=1)[0][0] != name.split("/")[0]
    ]
    assert 6 - len(wrong) == sum(row[k] for k, row in enumerate(facts["confusion"]))


def held_out_names(facts, folder: Path) -> list[str]:
    from convscope.training.run_listing import list_run

    return list(list_run(folder).held_out.ids)


def test_json_is_all_of_it(cli, folder: Path) -> None:
    said = json.loads(cli("train", "--data", "colours", *QUICK, "--out", "x.run", "--json", "--seed", 3).stdout)
    facts = finished_facts(Path("x.run"))
    assert said["images"] == {"train": 18, "held out": 6}
    assert said["confusion"] == facts["confusion"]
    assert said["history"] == facts["history"]
    assert said["accuracy"] == facts["history"][-1]["accuracy"]
    assert (said["run"], said["report"], said["classes"], said["epochs"]) == ("x.run", None, list(CLASSES), 3)
    assert [dict(each) for each in training_of(Path("x.run")).history] == facts["history"]


def test_every_option_reaches_the_recipe(cli, folder: Path) -> None:
    options = {
        "--epochs": 1, "--batch": 5, "--learning-rate": 0.02, "--rate": "constant", "--optimiser": "sgd",
        "--weight-decay": 0.01, "--augment": "shifts", "--seed": 4, "--threads": 1,
    }  # fmt: skip
    asked = [part for option in options.items() for part in option]
    cli("train", "colours", "--net", "tiny", "--out", "x.run", "--no-report", "--held-out", 0.5, "--size", 20, *asked)
    training = training_of(Path("x.run"))
    assert training.settings == {name[2:].replace("-", "_"): value for name, value in options.items()}
    assert training.data["splits"]["held out"]["images"] == 12
    assert (training.preprocess["size"], training.network["size"]) == (20, 20)


def test_a_network_of_ones_own(cli, folder: Path) -> None:
    Path("nets.py").write_text(FACTORY)
    cli("train", "colours", "--net", "nets.py:make", "--epochs", 1, "--out", "x.run", "--no-report")
    net = cs.load("x.run")
    assert net.module[-1].out_features == 3  # of the data, whatever the factory says
    assert net.preprocess.size == 16


def test_a_part_of_the_digits_has_the_digits_network(cli, tmp_path: Path) -> None:
    cli("train", "bundled:digits/held-out", "--out", tmp_path / "a.run", "--epochs", "1", "--no-report")
    assert '"name": "digits"' in (tmp_path / "a.run" / "training.json").read_text()


def test_skipped_pictures_are_listed_and_the_code_is_1(cli, folder: Path) -> None:
    (folder / "red" / "00.png").write_bytes(b"no picture")
    result = cli("train", "colours", *QUICK, code=1)
    assert "skipped red/00.png: it is not a picture" in result.stderr
    assert (
        json.loads(cli("train", "colours", *QUICK, "--overwrite", "--json", code=1).stdout)["skipped"][0][0]
        == "red/00.png"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--net", "tinny"), "no network 'tinny'; did you mean 'tiny'?"),
        (("--net", "nets.py:make"), "no file nets.py"),
        (("--optimiser", "adan"), "no optimiser 'adan'; did you mean 'adam'?"),
        (("--learning-rate", "0"), "a learning rate is a number above 0"),
        (("--held-out", "1"), "between 0 and 1"),
        (("--size", "2"), "2 px is too small"),
        (("--layer", "conv1"), "--base"),
        (("--base", "bundled:tiny50"), "--net is trained whole"),
        (("--units", "conv3:64"), "conv3"),
        (("--data", "colours"), "the data are given twice, colours and --data colours"),
    ],
)
def test_a_refused_training_leaves_no_files(cli, folder: Path, tmp_path: Path, options, said: str) -> None:
    result = cli("train", "colours", *QUICK, *options, code=2)
    assert said in result.stderr
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["colours"]


def test_one_class_is_refused(cli, folder: Path, tmp_path: Path) -> None:
    colour_folders(tmp_path / "one", classes=("red",))
    assert "one class only, 'red'" in cli("train", "one", *QUICK, code=2).stderr
    assert not Path("one.run").exists()


def test_what_is_there_is_not_written_over_unasked(cli, folder: Path) -> None:
    cli("train", "colours", *QUICK)
    before = Path("colours.run", CHECKPOINT).read_bytes()
    assert "colours.run" in cli("train", "colours", *QUICK, code=2).stderr
    assert "nothing is left to do" in cli("train", "colours", *QUICK, "--resume").stderr
    assert "with seed 0, not with 1" in cli("train", "colours", *QUICK, "--resume", "--seed", 1, code=2).stderr
    assert Path("colours.run", CHECKPOINT).read_bytes() == before
    cli("train", "colours", *QUICK, "--overwrite", "--seed", 1)
    assert Path("colours.run", CHECKPOINT).read_bytes() != before


def test_a_finished_run_is_not_taken_for_another(cli, folder: Path, tmp_path: Path) -> None:
    """Oracle: each thing that ``--resume`` is given otherwise, one at a time; exit code and files."""
    cli("train", "colours", *QUICK, "--out", "x.run")
    before = files("x.run")
    other_net = tuple("small" if part == "tiny" else part for part in QUICK)
    assert (
        "begun with another network" in cli("train", "colours", *other_net, "--out", "x.run", "--resume", code=2).stderr
    )
    assert "x.run was trained on other data (colours)" in (
        cli("train", "bundled:digits", *QUICK, "--out", "x.run", "--resume", code=2).stderr
    )
    other_input = cli("train", "colours", *QUICK, "--mean", "0.1,0.2,0.3", "--out", "x.run", "--resume", code=2)
    assert "inputs of another size, mean or deviation" in other_input.stderr
    assert (
        "other data" in cli("train", "colours", *QUICK, "--held-out", 0.5, "--out", "x.run", "--resume", code=2).stderr
    )
    (folder / "red" / "00.png").unlink()
    assert "other data" in cli("train", "colours", *QUICK, "--out", "x.run", "--resume", code=2).stderr
    assert files("x.run") == before


def test_no_name_is_not_taken_for_the_digits(cli) -> None:
    """``train "$DATA"`` of an empty variable."""
    cli("train", "", *QUICK, code=2)
    cli("train", "--data", "", *QUICK, code=2)


def test_a_loss_that_is_not_finite_keeps_the_last_good_weights(cli, folder: Path) -> None:
    wild = ("--optimiser", "sgd", "--learning-rate", 1e38, "--rate", "constant")
    result = cli("train", "colours", *QUICK, *wild, code=2)
    assert "in epoch 1, batch " in result.stderr
    assert "the weights of epoch 0 are kept in colours.run" in result.stderr
    assert finished_facts(Path("colours.run"))["epoch"] == 0
    assert cs.load("colours.run").classes == CLASSES


def test_a_full_disk_says_how_to_go_on(cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from convscope.training import fitting

    real = fitting.write_checkpoint

    def full(folder, net, optimiser, facts) -> None:
        if facts["epoch"] == 2:
            raise UnwritableError("cannot write x: No space left on device")
        real(folder, net, optimiser, facts)

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "write_checkpoint", full)
        result = cli("train", "colours", *QUICK, code=2)
    assert "No space left" in result.stderr
    assert "epoch 1 of 3 is kept in colours.run" in result.stderr
    assert_as_unbroken(cli)


def assert_as_unbroken(cli, resumed: bool = False) -> None:
    """The run that was broken off goes on, and ends as one that was not."""
    if not resumed:
        cli("train", "colours", *QUICK, "--resume")
    cli("train", "colours", *QUICK, "--out", "whole.run")
    ours, whole = files("colours.run"), files("whole.run")
    assert ours.keys() == whole.keys()
    for name in ours.keys() - {"training.json"}:  # which says when and by which command
        assert ours[name] == whole[name], name
    assert training_of(Path("colours.run")).is_finished


def files(folder: str) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


# ---- real signals in a process of its own


TRAIN = ("train", "colours", *QUICK)


@pytest.mark.parametrize(
    ("where", "count", "epoch"),
    [
        ("step", 5, 1),  # the second of three batches of the second epoch
        ("checkpoint", 3, 1),  # the second epoch's snapshot is there, its checkpoint is not
        ("file", 10, 2),  # training.json, then three files an epoch: the second epoch's weights are half written
    ],
)
def test_killed_and_gone_on_with_it_ends_as_unbroken(cli, folder: Path, where: str, count: int, epoch: int) -> None:
    result = struck("SIGKILL", where, count, *TRAIN)
    assert result.returncode == -9, result.stderr
    assert finished_facts(Path("colours.run"))["epoch"] == epoch
    assert not training_of(Path("colours.run")).is_finished
    assert_as_unbroken(cli)


def test_ctrl_c_keeps_the_last_epoch(cli, folder: Path) -> None:
    result = struck("SIGINT", "step", 8, *TRAIN)
    assert result.returncode == 130, result.stderr
    assert "epoch 2 of 3 is kept in colours.run" in result.stderr
    assert "Traceback" not in result.stderr
    assert finished_facts(Path("colours.run"))["epoch"] == 2
    assert_as_unbroken(cli)
    assert WEIGHTS in files("colours.run")


def test_killed_unwatched_and_gone_on_with_watched_it_has_the_same_weights(cli, folder: Path) -> None:
    assert struck("SIGKILL", "checkpoint", 3, *TRAIN, bare="yes").returncode == -9
    assert not Path("colours.run", "epochs").exists()
    cli("train", "colours", *QUICK, "--resume")
    cli("train", "colours", *QUICK, "--out", "whole.run")
    for name in (CHECKPOINT, WEIGHTS):
        assert files("colours.run")[name] == files("whole.run")[name]


def test_ctrl_c_before_the_first_epoch_leaves_a_run_to_go_on_with(
    cli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_making, "read_run", stop)
        cli("train", "colours", *QUICK, code=130)
    assert not Path("colours.run").exists()
    with monkeypatch.context() as patched:
        patched.setattr(run_making, "fit", stop)
        stderr = cli("train", "colours", *QUICK, code=130).stderr
    assert "no epoch is done; what is in colours.run is kept, and the same with --resume" in stderr
    assert_as_unbroken(cli)
