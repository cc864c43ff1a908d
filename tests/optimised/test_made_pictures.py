"""The making of pictures: what is refused, told of, kept and gone on with.

Oracles: a run without a break; how many steps were made before a refusal.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.optimised import interrupted, made_pictures
from convscope.synthesis import objectives
from tests import friendly, nets
from tests.kept_in_memory import Store

QUICK = {"steps": 5}


def network(factory=nets.plain, **options) -> cs.Network:
    return friendly.network(factory, **{"dtype": torch.float64} | options)


# ---- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("conv2:8", "'conv2' has 8 units"),
        (["conv1:0", "conv2:0-8"], "'conv2' has 8 units"),
        ("conv2:0@9,0", "map of 6 x 6"),
        ("conv3:0", "did you mean 'conv"),
        ("lyon", "did you mean 'Lion'"),
        ("crane", "shared by classes 3, 4"),
        ("conv2:3-1", "backwards"),
        (7, "5 classes"),
        (-1, "5 classes"),
        ([], "nothing"),
        (objectives.unit("conv1:9"), "6 units"),
        (objectives.direction("conv1", torch.ones(4)), "direction of 4 numbers"),
    ],
)
def test_targets_that_are_not_there_are_refused_before_the_first_step(asked, message: str) -> None:
    net, steps = network(), []
    with pytest.raises(ConvscopeError, match=message):
        cs.visualize(net, asked, on_step=lambda *done: steps.append(done), on_frame=lambda *_: steps.append(1))
    assert steps == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "cannot take an input"),
        ({"size": 0}, "size=0"),
        ({"size": (12, 0)}, r"size=\(12, 0\)"),
        ({"size": True}, "size=True"),
        ({"batch": 0}, "batch=0"),
        ({"seed": -1}, "seed"),
        ({"tvv": 1}, "did you mean 'tv'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        cs.visualize(network(), "conv2:3", **options)


def test_an_objective_that_is_not_finite_stops_with_the_step_and_the_last_good_picture() -> None:
    net, passes = network(), []

    def score(_activations, output: Tensor) -> Tensor:
        passes.append(1)
        return output[:, 0] * (math.nan if len(passes) > 4 else 1.0)  # the first pass is the check

    bad = objectives.Objective((), True, score, "goes wrong")
    with pytest.raises(interrupted.UnfinishedError, match=r"goes wrong.*at step 3.*step 2 is the last good") as stopped:
        cs.visualize(net, ["conv2:3", bad], **QUICK)
    assert stopped.value.ready.names == ("conv2:3",)
    assert stopped.value.missing == ("goes wrong",)
    assert stopped.value.last["goes wrong"].shape == (3, 12, 12)


# ---- on the way ----------------------------------------------------------------------------------------------


def test_steps_frames_and_finished_pictures_are_told_of() -> None:
    steps, frames, made = [], [], []
    asked = ["conv2:3", "Lion", "conv2:1", "conv2:0"]
    found = cs.visualize(
        network(), asked, batch=2, steps=3, on_step=lambda done, all_: steps.append((done, all_)),
        on_frame=lambda step, pictures: frames.append((step, pictures)), on_made=lambda one: made.append(one.name),
    )  # fmt: skip
    assert sorted(set(steps)) == [(i, 9) for i in range(1, 10)]
    assert steps == sorted(steps)
    assert made == ["conv2:3", "conv2:1", "conv2:0", "Lion"]  # layer by layer; the result is as asked for
    assert found.names == tuple(asked)
    assert [step for step, _ in frames] == [0, 1, 2, 3] * 3
    assert torch.equal(frames[3][1]["conv2:1"], found.values[2])


@pytest.mark.parametrize("stop_after", range(9))
def test_an_interrupted_run_has_what_is_ready_and_goes_on_to_the_same_bits(stop_after: int) -> None:
    net, asked = network(), ["conv2:3", "Lion", "conv2:1"]
    whole = cs.visualize(net, asked, steps=3)
    store = Store(stop_after)
    if stop_after < 8:
        with pytest.raises(interrupted.Interrupted) as stopped:
            cs.visualize(net, asked, steps=3, keeper=store)
        ready = stopped.value.ready
        assert (ready is None) == (stop_after < 4)
        if ready is not None:
            assert ready.names == ("conv2:3", "conv2:1")
            assert stopped.value.missing == ready.missing == ("Lion",)
            assert "not made" in ready.facts()
            assert "1 not made" in ready.how
        store.left = math.inf
    frames: list[int] = []
    again = cs.visualize(net, asked, steps=3, keeper=store, on_frame=lambda step, _: frames.append(step))
    assert torch.equal(again.values, whole.values)
    assert torch.equal(again.scores, whole.scores)
    assert np.array_equal(again.probabilities.numpy(), whole.probabilities.numpy(), equal_nan=True)
    assert again.as_json() == whole.as_json()
    assert len(frames) == 8 - (stop_after if stop_after < 8 else 0)
    assert not [key for key in store.tensors if key.endswith("/state")]
    assert set(store.tensors) == set(asked)


def test_what_is_kept_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store, net = Store(), network()
    first = cs.visualize(net, ["conv2:3", "Lion"], keeper=store, **QUICK)
    monkeypatch.setattr(made_pictures, "maximise", None)
    steps: list[tuple[int, int]] = []
    second = cs.visualize(net, ["conv2:3", "Lion"], keeper=store, on_step=lambda *done: steps.append(done), **QUICK)
    assert torch.equal(first.values, second.values)
    assert second.as_json() == first.as_json()
    assert steps[-1] == (10, 10)
