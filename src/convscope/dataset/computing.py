"""The map of a survey: an engine computes the parts that are missing, until every one is there and whole.

A part that was damaged, or made under another plan, is missing too. What is counted is images, from the steps of one
shard after the other where this process computes them, and whole shards where others do.

Under torchrun each rank takes its share and leaves; what is missing then (a part that was damaged, or that the disk
does not show to the first rank) is nobody else's any more, and the first rank takes all of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convscope.dataset.engines import Engine, InProcess, ShardWork, Tensors
from convscope.dataset.filling import OnStage
from convscope.dataset.plan import Plan, Shard
from convscope.dataset.ranks import Ranks
from convscope.errors import ConvscopeError
from convscope.store.parts import present, read_part, write_part

ATTEMPTS = 5  # rounds over what is missing, before the disk is blamed


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts in an atlas's folder, of one plan."""

    folder: Path
    plan: Plan

    def missing(self) -> list[int]:
        """The shards that have no part that is whole and of this plan."""
        there = present(self.folder, self.plan.fingerprint)
        return [number for number in range(self.plan.shards) if number not in there]

    def keep(self, shard: Shard, tensors: Tensors) -> None:
        """Write a part. Raises UnwritableError."""
        write_part(self.folder, shard.number, tensors, self.plan.fingerprint)

    def read(self, number: int, prefix: str) -> dict[str, np.ndarray]:
        """The tensors of a part whose names begin with ``prefix``. Raises ConvscopeError where the part has gone."""
        found = read_part(self.folder, number, self.plan.fingerprint, prefix=prefix)
        if found is None:
            raise ConvscopeError(
                f"part {number} of {self.folder} cannot be read any more; the same command with --resume makes it anew"
            )
        return found

    def digests(self, number: int) -> dict[int, bytes]:
        """Image number -> digest of its file, of a finished shard; empty of one that is not."""
        found = read_part(self.folder, number, self.plan.fingerprint, prefix="images/")
        if not found:
            return {}
        pairs = zip(found["images/number"].tolist(), found["images/digest"], strict=True)
        return {image: digest.tobytes() for image, digest in pairs}


def compute(parts: Parts, work: ShardWork, engine: Engine, show: OnStage) -> None:
    """Until every part is there; of ranks other than the first, this one's share.

    Raises:
        ConvscopeError: as ``sweep.sweep`` and the engine; parts that are damaged however often they are written.
        UnwritableError: a full disk; the parts that were written stay.
    """
    plan, images = parts.plan, _Counted(parts.plan, show)
    missing = parts.missing()
    for _ in range(ATTEMPTS):
        if not missing:
            return
        images.begin(missing)
        shards = (plan.shard(number) for number in missing)
        engine.run(shards, replace(work, on_step=images.step), images.kept(parts.keep))
        if isinstance(engine, Ranks):
            if engine.rank > 0:
                return
            engine.wait_for_all()
            engine = InProcess()
        missing = parts.missing()
    if missing:
        raise ConvscopeError(
            f"part {missing[0]} of {parts.folder} was damaged each of the {ATTEMPTS} times that it was written: "
            "something is wrong with that disk"
        )


class _Counted:
    """Images done of all, from the steps of one shard after the other, or from whole shards."""

    def __init__(self, plan: Plan, show: OnStage) -> None:
        self._plan, self._show = plan, show
        self._done = 0

    def begin(self, missing: Sequence[int]) -> None:
        last = self._plan.shards - 1
        left = len(missing) * self._plan.shard_size
        left -= (last in missing) * (self._plan.shards * self._plan.shard_size - self._plan.images)
        self._done = self._plan.images - left
        self._show("images", self._done, self._plan.images)

    def step(self, done: int, _every: int) -> None:
        self._show("images", self._done + done, self._plan.images)

    def kept(self, keep: Callable[[Shard, Tensors], None]) -> Callable[[Shard, Tensors], None]:
        def counted(shard: Shard, tensors: Tensors) -> None:
            keep(shard, tensors)
            self._done += len(shard.images)
            self._show("images", self._done, self._plan.images)

        return counted
