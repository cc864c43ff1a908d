"""Engines: whoever computes the shards, every shard is kept once, and with what the work gives for it alone."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from convscope.dataset.engines import InProcess, Work
from convscope.dataset.plan import PlannedImage, Shard
from convscope.dataset.ranks import OtherRankError, Ranks, ranks
from convscope.dataset.ray_engine import ATTEMPTS, RayEngine
from convscope.errors import ConvscopeError


def shards(count: int) -> Iterator[Shard]:
    return (
        Shard(n, (PlannedImage(2 * n, f"{n}.png", 0), PlannedImage(2 * n + 1, f"{n}b.png", 0))) for n in range(count)
    )


@dataclass(frozen=True)
class Numbered:
    """A stand-in for the sweep: the shard's image numbers, and which process gave them."""

    deaths: Path | None = None  # a folder: the first to take shard 1 dies, or all where it holds ``always``
    fails: bool = False
    here: bool = True

    def __call__(self, shard: Shard) -> dict[str, np.ndarray]:
        if self.fails and shard.number == 1:
            raise ConvscopeError("layer 'x' does not fit into memory")
        if self.deaths is not None and shard.number == 1:
            mark = self.deaths / "died"
            if not mark.exists() or (self.deaths / "always").exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return {"images/number": np.array([image.number for image in shard.images]), "process": np.array([os.getpid()])}

    def portable(self) -> "Numbered":
        return replace(self, here=False)


def run(engine, work: Work, count: int = 5) -> dict[int, dict[str, np.ndarray]]:
    kept: dict[int, dict[str, np.ndarray]] = {}

    def keep(shard: Shard, tensors: dict[str, np.ndarray]) -> None:
        assert shard.number not in kept
        kept[shard.number] = tensors

    engine.run(shards(count), work, keep)
    return kept


def check(kept: dict[int, dict[str, np.ndarray]], numbers: range) -> None:
    assert sorted(kept) == list(numbers)
    for number, tensors in kept.items():
        assert tensors["images/number"].tolist() == [2 * number, 2 * number + 1]


def test_in_process_every_shard_is_computed_here() -> None:
    kept = run(InProcess(), Numbered())
    check(kept, range(5))
    assert {int(t["process"][0]) for t in kept.values()} == {os.getpid()}


class Notes:
    """torchrun's board, in memory."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}

    def set(self, key: str, value: str) -> None:
        self.notes[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self.notes[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.notes for key in keys)


def test_ranks_share_the_shards_by_their_numbers_and_say_when_they_are_done() -> None:
    board = Notes()
    first, second = run(Ranks(0, 2, board), Numbered()), run(Ranks(1, 2, board), Numbered())
    check(first, range(0, 5, 2))
    check(second, range(1, 5, 2))
    Ranks(0, 2, board).wait_for_all()


def test_a_rank_that_fails_ends_the_others() -> None:
    board = Notes()
    with pytest.raises(ConvscopeError, match="does not fit"), Ranks(1, 2, board).telling_of_failure():
        run(Ranks(1, 2, board), Numbered(fails=True))
    with pytest.raises(OtherRankError, match="rank 1: layer 'x' does not fit"):
        Ranks(0, 2, board).wait_for("planned")
    with pytest.raises(OtherRankError):
        run(Ranks(0, 2, board), Numbered())


def test_outside_torchrun_there_are_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert ranks() is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConvscopeError, match="start them with torchrun"):
        ranks()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConvscopeError, match="WORLD_SIZE='two'"):
        ranks()


@pytest.fixture(scope="module")
def two_workers() -> Iterator[RayEngine]:
    """A Ray of two workers for all tests here: it takes seconds to start."""
    ray = pytest.importorskip("ray")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield RayEngine(workers=2)
    ray.shutdown()


def test_ray_computes_every_shard_elsewhere(two_workers: RayEngine) -> None:
    kept = run(two_workers, Numbered(), 9)
    check(kept, range(9))
    assert os.getpid() not in {int(t["process"][0]) for t in kept.values()}


def test_a_lost_workers_shard_is_taken_again(two_workers: RayEngine, tmp_path: Path) -> None:
    said: list[str] = []
    check(run(replace(two_workers, on_note=said.append), Numbered(deaths=tmp_path)), range(5))
    assert said == ["a worker was lost; shard 1 is taken again"]


def test_a_shard_that_kills_every_worker_is_given_up(two_workers: RayEngine, tmp_path: Path) -> None:
    (tmp_path / "always").touch()
    with pytest.raises(ConvscopeError, match=rf"shard 1 \(1.png to 1b.png\) cost {ATTEMPTS} workers"):
        run(two_workers, Numbered(deaths=tmp_path))


def test_what_the_work_raises_is_raised_here(two_workers: RayEngine) -> None:
    with pytest.raises(ConvscopeError, match="does not fit") as caught:
        run(two_workers, Numbered(fails=True))
    assert type(caught.value) is ConvscopeError
