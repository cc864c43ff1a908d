"""The map of a survey ends when every part is there. Oracle: a board in memory, parts that are damaged by hand."""

from pathlib import Path

import numpy as np
import pytest

from convscope.dataset.computing import ATTEMPTS, Parts, compute
from convscope.dataset.engines import InProcess, ShardWork
from convscope.dataset.image_sources import source_of
from convscope.dataset.planning import make_plan
from convscope.dataset.ranks import Ranks
from convscope.errors import ConvscopeError
from convscope.store.parts import part_path
from tests import friendly
from tests.atlases.surveyed import photo_folder
from tests.dataset.test_engines import Notes


def told(_what: str, _done: int, _every: int) -> None:
    pass


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """Of 24 photos in five shards; nothing is computed yet."""
    source = source_of(photo_folder(tmp_path / "photos"))
    return Parts(tmp_path, make_plan(friendly.network(), source, tmp_path, layers="conv1", shard=5)[0])


@pytest.fixture
def work(parts: Parts) -> ShardWork:
    return ShardWork(friendly.network(), source_of(parts.folder / "photos"), parts.plan, 1)


@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_rank_0_takes_what_the_others_left_damaged(parts: Parts, work: ShardWork, damage: str) -> None:
    board = Notes()
    compute(parts, work, Ranks(1, 2, board), told)
    assert parts.missing() == [0, 2, 4]
    path = part_path(parts.folder, 1)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    steps: list[tuple[int, int]] = []

    def counted(_what: str, done: int, every: int) -> None:
        steps.append((done, every))
        assert len(steps) < 100, "it never ends"

    compute(parts, work, Ranks(0, 2, board), counted)
    assert parts.missing() == []
    assert steps[-1] == (24, 24)
    assert np.array_equal(parts.read(1, "images/number")["images/number"], range(5, 10))


def test_a_disk_that_damages_every_part_is_blamed(parts: Parts, work: ShardWork) -> None:
    class Damaging(InProcess):
        rounds = 0

        def run(self, shards, work, keep) -> None:
            super().run(shards, work, keep)
            Damaging.rounds += 1
            assert Damaging.rounds < 20, "it never ends"
            part_path(parts.folder, 3).write_bytes(b"no part")

    with pytest.raises(ConvscopeError, match=f"part 3 of .* was damaged each of the {ATTEMPTS} times"):
        compute(parts, work, Damaging(), told)
    assert parts.missing() == [3]
