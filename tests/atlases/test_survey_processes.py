"""A survey by several processes, and by processes that are killed: oracle the survey of one process, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import convscope as cs
from convscope.dataset.engines import ShardWork
from convscope.dataset.plan import Shard
from convscope.dataset.ray_engine import RayEngine
from tests.atlases.surveyed import contents, differing, photo_folder

NET = """
import os
import time

import torch
from torch import nn

MEAN = STD = (0.5, 0.5, 0.5)
SIZE = 16
CLASSES = ["crane", "king penguin", "tabby"]


class Net(nn.Module):  # a class of the file's own: other processes cannot import it
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        time.sleep(float(os.environ.get("SLEEP_S", "0")))  # so that a signal comes in the middle
        return self.head(self.conv2(self.conv1(x).relu()).relu().mean((2, 3)))


def make():
    torch.manual_seed(0)
    return Net()
"""
ASKED = {"shard": 3, "batch": 2, "top": 3}
OPTIONS = ("--shard", "3", "--batch", "2", "--top", "3")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``photos``, ``net.py``, and ``whole.atlas``, which one process made."""
    folder = tmp_path_factory.mktemp("place")
    photo_folder(folder / "photos", corrupt=7)
    (folder / "net.py").write_text(NET)
    ran = subprocess.run(command(folder, "whole.atlas"), cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr  # a photo was skipped
    return folder


def command(folder: Path, out: str, *options: str) -> list[str]:
    program = [sys.executable, "-m", "convscope", "survey", str(folder / "photos"), "-m", f"{folder}/net.py:make"]
    return [*program, "--out", out, *OPTIONS, *options]


def check(made: Path, place: Path) -> None:
    assert differing(contents(made), contents(place / "whole.atlas")) == []


def test_two_ranks_of_torchrun(place: Path, tmp_path: Path) -> None:
    _, *arguments = command(place, str(tmp_path / "x.atlas"))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ran = subprocess.run([*torchrun, *arguments], capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr  # 1 is a crash to torchrun, whose trace hides what was skipped
    assert ran.stderr.count("skipped crane/07.png") == 1
    assert "Error" not in ran.stderr
    assert ran.stdout.splitlines().count(str(tmp_path / "x.atlas")) == 1
    check(tmp_path / "x.atlas", place)
    assert [run["engine"] for run in cs.open_atlas(tmp_path / "x.atlas").runs] == ["2 ranks"]


@dataclass(frozen=True)
class Dying:
    """The shard function, in a process that is killed at its first sight of shard 4."""

    work: ShardWork
    folder: Path

    def __call__(self, shard: Shard) -> Mapping[str, np.ndarray]:
        mark = self.folder / "died"
        if shard.number == 4 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(shard)

    def portable(self) -> "Dying":
        return self


@dataclass(frozen=True)
class DyingRay(RayEngine):
    folder: Path = Path()

    def run(self, shards, work, keep) -> None:
        super().run(shards, Dying(work.portable(), self.folder), keep)


@pytest.fixture(scope="module")
def two_workers() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.mark.parametrize("killed", [False, True])
def test_two_workers_of_ray_also_where_one_is_killed(
    place: Path, tmp_path: Path, two_workers: None, killed: bool
) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        net = cs.load(f"{place}/net.py:make")
    said: list[str] = []
    how = {"workers": 2, "on_note": said.append}
    engine = DyingRay(**how, folder=tmp_path) if killed else RayEngine(**how)
    cs.survey(net, place / "photos", tmp_path / "x.atlas", engine=engine, **ASKED)
    assert said == (["a worker was lost; shard 4 is taken again"] if killed else [])
    check(tmp_path / "x.atlas", place)


def test_killed_three_times_at_random_moments(place: Path, tmp_path: Path) -> None:
    """``benchmarks/survey_kills.py`` does it twenty times."""
    made, drawn, kills = tmp_path / "x.atlas", random.Random(3), 0
    while kills < 3:
        process = subprocess.Popen(command(place, str(made), "--resume"), stderr=subprocess.DEVNULL)
        waited = time.monotonic()
        while not made.exists() and process.poll() is None:  # its start is longer than its work
            time.sleep(0.01)
        time.sleep(drawn.uniform(0, 0.5) * (time.monotonic() - waited))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if process.returncode == 1:
            break  # it was faster
    ran = subprocess.run(command(place, str(made), "--resume"), capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stderr
    check(made, place)


def test_ctrl_c_exits_130_and_resume_goes_on(place: Path, tmp_path: Path) -> None:
    made = tmp_path / "x.atlas"
    slow = command(place, str(made), "--per-image", "1")
    slowly = os.environ | {"SLEEP_S": "0.3"}
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a script that runs the tests may have it ignored
    process = subprocess.Popen(slow, stderr=subprocess.PIPE, text=True, env=slowly, preexec_fn=heard)
    while not (made / "parts").exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "--resume goes on from here" in said
    ran = subprocess.run([*slow, "--resume"], capture_output=True, text=True, check=False)
    assert "parts are there" in ran.stderr
    check(made, place)


def test_a_second_process_in_the_same_folder_is_refused(place: Path, tmp_path: Path) -> None:
    made = tmp_path / "x.atlas"
    slowly = os.environ | {"SLEEP_S": "0.3"}
    first = subprocess.Popen(command(place, str(made)), stderr=subprocess.DEVNULL, env=slowly)
    while not (made / "parts").exists() and first.poll() is None:
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)  # it holds the folder for as long as we like
    try:
        ran = subprocess.run(command(place, str(made), "--resume"), capture_output=True, text=True, check=False)
    finally:
        first.send_signal(signal.SIGCONT)
    assert ran.returncode == 2
    assert "is writing into" in ran.stderr
    assert first.wait() == 1
    check(made, place)
