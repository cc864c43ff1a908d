"""``convscope visualize`` broken off by real signals in a process of its own, and gone on with.

Oracle: the run without a break, to the bit: pictures, scores, and every frame of the animation.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# the command itself, but that it sends itself the signal as step AT offers its state, and keeps every state
DRIVER = """
import os, signal, sys
from convscope.cli import kept_work, main

signal.signal(signal.SIGINT, signal.default_int_handler)  # a script that runs the tests may have it ignored
kept_work.SECONDS_BETWEEN = 0.0
offered, is_due = 0, kept_work.KeptWork.is_due

def counting(self):
    global offered
    offered += 1
    if offered == int(os.environ["AT"]):
        os.kill(os.getpid(), getattr(signal, os.environ["HOW"]))
    return is_due(self)

kept_work.KeptWork.is_due = counting
sys.argv = ["convscope", *sys.argv[1:]]
main()
"""
STEPS = 12  # of each of two batches: 13 states each, the start and the end among them
TARGETS = ("3:1", "3:4", "lion", "tabby")


@pytest.fixture
def args(net: str) -> tuple[str, ...]:
    made = ("--steps", str(STEPS), "--batch", "2", "--animate", "webp", "--save", "npz")
    return ("visualize", *TARGETS, "--model", net, *made)


def broken(args: tuple[str, ...], how: str, at: int) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "HOW": how, "AT": str(at), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, *args]
    return subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=120)


def written(folder: str = "convscope-out") -> dict[str, Path]:
    """Ending -> file, of those that are not hidden."""
    return {path.suffix: path for path in Path(folder).iterdir() if not path.name.startswith(".")}


def arrays(folder: str = "convscope-out") -> dict[str, np.ndarray]:
    with np.load(written(folder)[".npz"]) as archive:
        return {name: array for name, array in archive.items() if name != "about"}


def assert_as_without_a_break(cli, args: tuple[str, ...]) -> None:
    cli(*args, "--out", "unbroken")
    assert [path for path in Path("convscope-out").iterdir() if path.name.startswith(".")] == []
    found, wanted = arrays(), arrays("unbroken")
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert written()[".webp"].read_bytes() == written("unbroken")[".webp"].read_bytes()


def test_ctrl_c_writes_what_is_ready_and_resume_ends_as_without_a_break(cli, args) -> None:
    result = broken(args, "SIGINT", STEPS + 1 + 5)
    assert result.returncode == 130, result.stderr
    assert result.stdout.split() == [str(written()[".npz"])]
    assert result.stderr.splitlines() == [
        "stops after this step; Ctrl-C again stops at once",
        "not made: lion, tabby",
        "the same command with --resume goes on from here",
        "convscope: interrupted; what was written stays",
    ]
    assert list(arrays()["names"]) == ["3:1", "3:4"]
    resumed = cli(*args, "--resume")
    assert resumed.stderr == "note: goes on from where it stopped\n"
    assert_as_without_a_break(cli, args)


def test_ctrl_c_before_the_first_is_ready_writes_no_sheet(cli, args) -> None:
    result = broken(args, "SIGINT", 3)
    assert result.returncode == 130, result.stderr
    assert result.stdout == ""
    assert "not made: 3:1, 3:4, lion, tabby\nthe same command with --resume goes on from here\n" in result.stderr
    assert written() == {}
    cli(*args, "--resume")
    assert_as_without_a_break(cli, args)


@pytest.mark.parametrize("at", [4, STEPS + 1 + 5])
def test_kill_9_loses_what_was_not_kept_and_nothing_else(cli, args, at: int) -> None:
    result = broken(args, "SIGKILL", at)
    assert result.returncode == -9
    assert written() == {}
    cli(*args, "--resume")
    assert_as_without_a_break(cli, args)


def test_a_sweep_goes_on_as_well(cli, net: str) -> None:
    args = ("visualize", "lion", "--tv", "0,1,2", "--model", net, "--steps", str(STEPS), "--save", "npz")
    result = broken(args, "SIGINT", STEPS + 1 + 5)
    assert result.returncode == 130, result.stderr
    assert ", lion at 2\n" in result.stderr
    ready = arrays()
    cli(*args, "--resume")
    cli(*args, "--out", "unbroken")
    found, wanted = arrays(), arrays("unbroken")
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    np.testing.assert_array_equal(ready["tv 0 values"], wanted["tv 0 values"])
