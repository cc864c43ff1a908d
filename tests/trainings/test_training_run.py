"""A training read again. Oracle: the snapshots that were written."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.store.snapshots import snapshot_path
from convscope.trainings.training_run import chosen_epochs, open_training, split_asked
from tests.trainings.runs import CLASSES, HELD_OUT, TRAIN, snapshot, split, usual, write_run


def damage(folder: Path, epoch: int) -> None:
    path = snapshot_path(folder, epoch)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def test_epochs_splits_and_scores_are_those_of_the_snapshots(tmp_path: Path) -> None:
    run = cs.open_training(usual(tmp_path))
    assert isinstance(run, cs.TrainingRun)
    assert run.epochs == (0, 1, 2, 3)
    assert run.splits == ("train", "held out")  # that of the weights first, although "h" comes before "t"
    assert run.judged_by == "held out"
    assert [s.losses["train"] for s in run.history] == list(TRAIN)
    assert [s.losses["held out"] for s in run.history] == list(HELD_OUT)
    assert run.history[2].accuracies["train"] == pytest.approx(9 / 12)
    assert run.classes == CLASSES
    np.testing.assert_array_equal(run.snapshot(2).filters, snapshot(2).filters)
    assert run.lacking() == ""


def test_what_the_loop_itself_measured_on_all_held_out_images_stands(tmp_path: Path) -> None:
    history = ({"epoch": 1, "loss": 0.25, "accuracy": 0.5, "train_loss": 9.0},)
    run = open_training(write_run(tmp_path / "a.run", [snapshot(0), snapshot(1)], history=history))
    assert run.history[0].losses["held out"] == HELD_OUT[0]
    assert (run.history[1].losses["held out"], run.history[1].accuracies["held out"]) == (0.25, 0.5)
    assert run.history[1].losses["train"] == TRAIN[1]


def test_a_probes_watched_split_judges(tmp_path: Path) -> None:
    states = {name: split(1.0, np.eye(3, dtype=np.int64)) for name in ("a", "b", "train")}
    folder = write_run(tmp_path / "a.run", [replace(snapshot(0), splits=states)], data={"watched": "a"})
    assert open_training(folder).splits == ("train", "b", "a")


def test_a_damaged_snapshot_is_left_out_and_named(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    damage(folder, 2)
    run = open_training(folder)
    assert run.epochs == (0, 1, 3)
    assert list(run.broken) == [2]
    assert "00002.safetensors" in run.broken[2]
    assert run.missing == ()
    assert run.lacking() == "damaged and left out: epoch 2"
    with pytest.raises(ConvscopeError, match="damaged"):
        run.snapshot(2)


def test_missing_snapshots_are_named_and_a_regular_distance_is_no_gap(tmp_path: Path) -> None:
    gaps = open_training(write_run(tmp_path / "a.run", [snapshot(e) for e in (0, 2, 4, 10)], epochs=12))
    assert gaps.missing == (6, 8)
    assert gaps.lacking() == "without a snapshot: epochs 6, 8; ended after epoch 10 of 12"
    assert open_training(write_run(tmp_path / "b.run", [snapshot(e) for e in (0, 2, 4)])).missing == ()
    assert open_training(write_run(tmp_path / "c.run", [snapshot(0)], epochs=0)).lacking() == ""


def test_no_training_and_no_sound_snapshot_are_refused_by_name(tmp_path: Path) -> None:
    folder = usual(tmp_path)
    with pytest.raises(ConvscopeError, match=r"did you mean 'a\.run'"):
        open_training(tmp_path / "b.run")
    for epoch in range(4):
        damage(folder, epoch)
    with pytest.raises(ConvscopeError, match=r"a\.run has no snapshot that can be read; .*00000"):
        open_training(folder)
    with pytest.raises(ConvscopeError, match="nothing was trained yet"):
        open_training(write_run(tmp_path / "empty.run", []))


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    run = open_training(write_run(tmp_path / "a.run", [snapshot(0, classes=())], classes=()))
    assert run.classes == ("class 0", "class 1", "class 2")


def test_a_split_is_found_by_name(tmp_path: Path) -> None:
    run = open_training(usual(tmp_path))
    assert split_asked(run, "train") == "train"
    with pytest.raises(ConvscopeError, match="did you mean 'train'"):
        split_asked(run, "trian")


def test_a_split_that_one_epoch_lacks_is_no_number_there(tmp_path: Path) -> None:
    only = replace(snapshot(0), splits={"train": split(1.0, np.eye(3, dtype=np.int64))})
    run = open_training(write_run(tmp_path / "a.run", [only, snapshot(1)]))
    assert math.isnan(run.history[0].losses["held out"])


@pytest.mark.parametrize(
    ("count", "most"), [(1, 6), (5, 6), (6, 6), (7, 6), (8, 6), (21, 6), (300, 10), (9, 1), (9, 2)]
)
def test_chosen_epochs_have_the_ends_and_no_epoch_twice(count: int, most: int) -> None:
    chosen = chosen_epochs(range(count), most)
    assert len(chosen) == min(count, most)
    assert list(chosen) == sorted(set(chosen))
    assert chosen[-1] == count - 1
    assert most == 1 or chosen[0] == 0
    if count > most > 2:
        steps = np.diff(chosen)
        assert steps[0] <= steps[-1]  # dense at first


def test_the_name_of_a_run_that_is_built_beside_its_place(tmp_path: Path) -> None:
    assert open_training(write_run(tmp_path / ".a.run.new", [snapshot(0)])).name == "a.run"
