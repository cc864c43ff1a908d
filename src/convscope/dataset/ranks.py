"""The processes of ``torchrun``: rank r of w takes the shards r, r + w, r + 2 w, ...

    torchrun --nproc-per-node 2 -m convscope survey photos --out photos.atlas

Each rank writes its parts into the atlas folder, which all of them see on one disk; rank 0 also writes the plan and,
when every rank has said that it is done, reduces the parts. Nothing is gathered over the network. The ranks leave each
other notes on torchrun's own board (``torch.distributed.Store``), because a file on disk cannot tell this run's plan
from that of a run that was killed a moment ago:

    planned    the plan's fingerprint     rank 0, once it may be read
    done/R     empty                      rank R, once its parts are written
    finished   empty                      rank 0, once the atlas is
    failed     what went wrong            whoever cannot go on: the others leave too

The rule is by the shard's number and not by its place among those that are missing, since another rank may write a
part while this one looks for what is missing. What is missing still when all are done, rank 0 computes. A rank that is
killed takes torchrun's whole run with it; the same command with ``--resume`` computes what is missing, with any number
of ranks.
"""

import os
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from convscope.dataset.engines import Keep, Work
from convscope.dataset.plan import Shard
from convscope.errors import ConvscopeError

SECONDS_BETWEEN = 0.1  # of two looks at the board
_WORD = "convscope"


class OtherRankError(ConvscopeError):
    """Another rank could not go on, and says why itself."""


@runtime_checkable
class Board(Protocol):
    """Notes by name that all ranks can read (``torch.distributed.Store``)."""

    def set(self, key: str, value: str) -> None:
        """Leave a note."""
        ...

    def get(self, key: str) -> bytes:
        """A note that is there."""
        ...

    def check(self, keys: list[str]) -> bool:
        """Whether all these notes are there."""
        ...


@dataclass(frozen=True)
class Ranks:
    """One process's place among the ranks of one run."""

    rank: int
    world: int
    board: Board

    @property
    def name(self) -> str:
        """For the table ``runs``."""
        return f"{self.world} ranks"

    def run(self, shards: Iterable[Shard], work: Work, keep: Keep) -> None:
        """Compute and keep this rank's share, then say so."""
        for shard in shards:
            if shard.number % self.world == self.rank:
                self._leave_if_failed()
                keep(shard, work(shard))
        self.tell(f"done/{self.rank}")

    def tell(self, key: str, value: str = "") -> None:
        """Leave a note for the others."""
        self.board.set(f"{_WORD}/{key}", value)

    def wait_for(self, key: str) -> str:
        """A note, once it is there.

        Raises:
            OtherRankError: a rank has failed, or its process has gone.
        """
        while not self._has(key):
            self._leave_if_failed()
            time.sleep(SECONDS_BETWEEN)  # not Store.wait, which Ctrl-C does not reach
        return self.board.get(f"{_WORD}/{key}").decode()

    def wait_for_all(self) -> None:
        """Until every rank has written its parts. Raises OtherRankError as ``wait_for``."""
        for rank in range(self.world):
            self.wait_for(f"done/{rank}")

    @contextmanager
    def telling_of_failure(self) -> Generator[None]:
        """Whatever ends the block early ends the other ranks too."""
        try:
            yield
        except OtherRankError:
            raise
        except BaseException as error:
            self.tell("failed", f"rank {self.rank}: {error or type(error).__name__}")
            raise

    def _leave_if_failed(self) -> None:
        if self._has("failed"):
            raise OtherRankError(f"stopped with {self.board.get(f'{_WORD}/failed').decode()}")

    def _has(self, key: str) -> bool:
        try:
            return self.board.check([f"{_WORD}/{key}"])
        except RuntimeError as error:  # the board went with the process that held it
            raise OtherRankError("stopped with the other ranks: their board is gone") from error


def ranks() -> Ranks | None:
    """The place of this process as torchrun's environment tells it; None outside torchrun, and in a run of one process.

    Raises:
        ConvscopeError: an environment with RANK and WORLD_SIZE that is not torchrun's.
    """
    world = _number("WORLD_SIZE") or 1
    if world == 1:
        return None
    from torch.distributed.rendezvous import rendezvous

    try:
        board, rank, world = next(iter(rendezvous("env://")))
    except (ValueError, RuntimeError) as error:
        raise ConvscopeError(
            f"WORLD_SIZE={world} asks for several processes, but they cannot find each other ({error}); "
            "start them with torchrun, or unset WORLD_SIZE and RANK"
        ) from error
    return Ranks(rank, world, board)


def is_torchrun() -> bool:
    """Whether torchrun started this process, also as the only one: it takes every exit code but 0 for a crash."""
    return "TORCHELASTIC_RUN_ID" in os.environ  # as torch.distributed.is_torchelastic_launched


def local_device() -> str | None:
    """The GPU of this rank, where torchrun started several on this machine; None otherwise."""
    place = _number("LOCAL_RANK")
    if place is None or (_number("WORLD_SIZE") or 1) == 1:
        return None
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{place % count}" if count > 1 else None


def _number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise ConvscopeError(f"{variable}={text!r} in the environment is no number") from None
