"""Frames of a run: which steps, and that a keeper has them before the state that they lead to."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from convscope.optimised.picture_evolution import FRAMES, Evolution, frame_steps
from convscope.synthesis.keeping import keep_finished, keep_state
from tests.kept_in_memory import Store


@pytest.mark.parametrize("steps", [0, 1, 5, 60, 256, 4096])
def test_frames_are_dense_at_first_and_have_the_start_and_the_end(steps: int) -> None:
    found = frame_steps(steps)
    assert found[0] == 0
    assert found[-1] == steps
    assert len(found) <= FRAMES
    gaps = np.diff(found)
    assert all(0 < a <= b + 1 for a, b in itertools.pairwise(gaps))  # they grow, but for rounding


def pictures(step: int) -> dict[str, Tensor]:
    return {"a": torch.full((3, 8, 8), step / 5), "b": torch.full((1, 8, 8), 1 - step / 5)}


def run(evolution: Evolution, first: int, last: int) -> None:
    for step in range(first, last + 1):
        evolution.on_frame(step, pictures(step))
        keep_state(evolution, "batch", lambda now=step: {"step": torch.tensor(now)})


def test_every_frame_shows_the_pictures_of_its_step() -> None:
    evolution = Evolution(5, 2, Store(due=False))
    run(evolution, 0, 5)
    frames = evolution.frames(["b", "a"], "a title")
    assert len(frames) == 6
    for step, frame in enumerate(frames):
        pixels = np.asarray(frame)
        colours = {tuple(int(v) for v in pixel) for pixel in pixels[-30:, 20:-20].reshape(-1, 3)}
        assert {(round(255 * step / 5),) * 3, (round(255 * (1 - step / 5)),) * 3} <= colours
    left = np.asarray(frames[5])[-30, 30]
    assert tuple(left) == (0, 0, 0)  # b, which was asked for first, is black at the end


def test_a_run_that_goes_on_has_the_frames_from_before() -> None:
    keeper = Store()
    first = Evolution(5, 2, keeper)
    run(first, 0, 2)  # broken off here
    second = Evolution(5, 2, keeper)
    run(second, 2, 5)
    keep_finished(second, "a", {"values": torch.ones(1)})
    third = Evolution(5, 2, keeper)  # all was finished: nothing is made again
    unbroken = Evolution(5, 2, Store())
    run(unbroken, 0, 5)
    for one in (second, third):
        for frame, wanted in zip(one.frames(["a", "b"], ""), unbroken.frames(["a", "b"], ""), strict=True):
            np.testing.assert_array_equal(np.asarray(frame), np.asarray(wanted))


def test_frames_are_kept_before_the_state_and_each_once() -> None:
    keeper = Store()
    run(Evolution(5, 2, keeper), 0, 3)
    order = [said.split()[1] if "frames" in said else said for said in keeper.told]
    assert order == ["frames", "keep batch/state"] * 4
    assert sum(len(kept) for key, kept in keeper.tensors.items() if key.startswith("frames")) == 8
