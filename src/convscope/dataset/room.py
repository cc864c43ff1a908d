"""As many images a pass as memory holds: a batch that does not fit is halved, down to one image.

    limit <- batch size;   out of memory with n > 1 images: limit <- n / 2, and the same images again

The limit is common to all threads and never rises again within a shard. One image that does not fit beside what the
other threads are doing is tried once more when they are idle; if it does not fit then, nothing will help but a smaller
input or fewer layers.

An image's values do not depend on who shares its batch, except for rounding: other batch sizes may take other kernels.

Pitfalls: torch says "out of memory" in several ways (its own error on a GPU, a plain ``RuntimeError`` on a CPU, the
libraries' status codes), and the traceback of the error holds the very tensors that did not fit: it must be gone before
the next attempt.
"""

import re
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Generic, TypeVar, cast

import torch

T = TypeVar("T")
R = TypeVar("R")

_SAID = re.compile(
    r"can't allocate memory|not enough memory|out of memory|bad_alloc|Cannot allocate memory|ALLOC_FAILED"
    r"|could not create a memory"  # oneDNN
)


class NoRoomError(Exception):
    """One image alone does not fit into memory."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """True where the error, or what caused it, says so."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and _SAID.search(str(error)):
            return True
        error = error.__cause__
    return False


class Room(Generic[T, R]):
    """Runs ``work`` on some items at a time: on ``limit`` at most, in ``at_once`` threads at most."""

    def __init__(self, work: Callable[[Sequence[T]], R], limit: int, at_once: int) -> None:
        self.work, self.limit, self.at_once = work, limit, at_once
        self._slots = threading.Semaphore(at_once)
        self._changing, self._alone = threading.Lock(), threading.Lock()

    def run(self, items: Sequence[T]) -> list[R]:
        """The work's results on the items in turn; raises as ``each``."""
        return list(self.each(items))

    def each(self, items: Sequence[T]) -> Generator[R]:
        """The same, one by one, in as few portions as there is room for: what is not kept makes room.

        Raises:
            NoRoomError: for one item, while nothing else ran.
        """
        at = 0
        while at < len(items):
            some = items[at : at + self.limit]
            result, fits = self._tried(some, slots=1)
            if not fits and len(some) == 1:
                with self._alone:  # two that wait for all slots would wait for each other
                    result, fits = self._tried(some, slots=self.at_once)
                if not fits:
                    raise NoRoomError
            if fits:
                yield cast("R", result)
                at += len(some)
            else:
                self._lower(len(some))

    def _lower(self, too_many: int) -> None:
        with self._changing:
            self.limit = max(1, min(self.limit, too_many // 2))

    def _tried(self, some: Sequence[T], slots: int) -> tuple[R | None, bool]:
        with self._held(slots):
            try:
                return self.work(some), True
            except (MemoryError, RuntimeError, ValueError) as error:
                if not is_out_of_memory(error):
                    raise
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return None, False

    @contextmanager
    def _held(self, slots: int) -> Generator[None]:
        with ExitStack() as held:
            for _ in range(slots):
                held.enter_context(self._slots)
            yield
