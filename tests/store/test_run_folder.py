"""A training's folder. Oracles: what was there before, a second holder, files of something else."""

import json
from pathlib import Path

import pytest

from convscope.errors import ConvscopeError
from convscope.store.run_folder import (
    CHECKPOINT,
    REPORT,
    TRAINING,
    WEIGHTS,
    Training,
    begin_training,
    finish_training,
    is_finished,
    read_training,
    training_of,
    write_training,
    writing_run,
)  # fmt: skip
from convscope.store.snapshots import epochs, write_snapshot

WHAT = Training(
    network={"kind": "small", "name": "digits"},
    data={"name": "bundled:digits"},
    classes=("0", "1"),
    settings={"seed": 1},
    epochs=5,
    preprocess={"size": None},
    stamp={"versions": "x"},
    history=({"epoch": 0, "loss": 2.3},),
)


def made(folder: Path, mark: int = 0) -> Path:
    """A finished run, with a snapshot of epoch ``mark``."""
    with writing_run(folder) as building:
        begin_training(building, WHAT)
        write_snapshot(building, mark, {}, {})
        finish_training(building)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_run_is_comes_back(tmp_path: Path) -> None:
    begin_training(tmp_path, WHAT)
    assert read_training(tmp_path) == WHAT
    assert json.loads((tmp_path / TRAINING).read_text())["format"] == "convscope training"
    assert not is_finished(tmp_path)
    finish_training(tmp_path)
    assert training_of(tmp_path).is_finished
    assert read_training(tmp_path / "nowhere") is None


def test_a_run_begun_anew_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    made(tmp_path / "a.run", 3)
    for name in (WEIGHTS, CHECKPOINT, "notes.txt"):
        (tmp_path / "a.run" / name).write_text("x")
    (tmp_path / "a.run" / REPORT).mkdir()
    begin_training(tmp_path / "a.run", WHAT)
    assert names(tmp_path / "a.run") == ["notes.txt", TRAINING]


def test_a_run_that_is_there_is_refused_by_its_state(tmp_path: Path) -> None:
    folder = made(tmp_path / "a.run")
    with pytest.raises(ConvscopeError, match=r"a\.run is there already: --resume goes on with it, --overwrite"):
        made(folder)
    write_training(folder, WHAT)
    with pytest.raises(ConvscopeError, match=r"a\.run is not finished: --resume"):
        made(folder)
    (other := tmp_path / "mine").mkdir()
    (other / "notes.txt").write_text("x")
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with (
            pytest.raises(ConvscopeError, match="is no training, and not empty"),
            writing_run(tmp_path / "mine", **how),
        ):
            pytest.fail("written")
    assert names(tmp_path) == ["a.run", "mine"]


def test_an_old_run_stays_until_the_new_one_is_finished(tmp_path: Path) -> None:
    folder = made(tmp_path / "a.run", 3)

    def interrupted() -> None:
        with writing_run(folder, overwrite=True) as building:
            begin_training(building, WHAT)
            write_snapshot(building, 4, {}, {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with writing_run(folder, overwrite=True, resume=True):
        pass  # as far as it came
    assert epochs(folder) == [3]
    with writing_run(folder, overwrite=True, resume=True) as building:
        there = read_training(building)
        assert there is not None
        assert not there.is_finished
        assert epochs(building) == [4]
        finish_training(building)
    assert epochs(folder) == [4]
    assert names(tmp_path) == ["a.run"]


def test_one_that_is_refused_or_stays_empty_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no"), writing_run(tmp_path / "a.run"):
        raise RuntimeError("no")
    assert list(tmp_path.iterdir()) == []


def test_two_never_write_into_one(tmp_path: Path) -> None:
    with (
        writing_run(tmp_path / "a.run"),
        pytest.raises(ConvscopeError, match="another run is writing into"),
        writing_run(tmp_path / "a.run"),
    ):
        pytest.fail("held twice")


def test_what_is_no_training_is_refused_with_the_nearest(tmp_path: Path) -> None:
    made(tmp_path / "digits.run")
    with pytest.raises(ConvscopeError, match=r"no training .*digit\.run; did you mean 'digits\.run'"):
        training_of(tmp_path / "digit.run")
    with pytest.raises(ConvscopeError, match=r"trainings there: digits\.run"):
        training_of(tmp_path / "zzzzzzzzzzz")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConvscopeError, match="it is a file, and a training is a folder"):
        training_of(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConvscopeError, match=r"it has no training\.json"):
        training_of(tmp_path / "empty")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "of something else"),
        ('{"format": "convscope atlas"}', "of something else"),
        ('{"format": "convscope training", "version": 99}', "newer convscope .layout 99; this one reads up to 1"),
        ('{"format": "convscope training", "version": 1}', "is damaged: 'network'"),
    ],
)
def test_a_file_of_something_else_is_refused(said: str, message: str, tmp_path: Path) -> None:
    (tmp_path / TRAINING).write_text(said)
    with pytest.raises(ConvscopeError, match=message):
        read_training(tmp_path)
