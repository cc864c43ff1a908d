"""Work shared among threads, results in the order of the work.

Each job is done by one thread from beginning to end, and torch computes it without threads of its own: convolutions of
small batches are faster so (a batch stays in one core's cache), and what a job gives does not depend on how many others
run. The results are handed over in the jobs' order, so that whoever adds them up adds in one order. Hence the same bits
for any number of threads.

No more than ``AHEAD`` jobs a thread are asked for before their turn: memory does not grow with the number of jobs.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

AHEAD = 2

J = TypeVar("J")
R = TypeVar("R")


def in_order(jobs: Iterable[J], work: Callable[[J], R], threads: int | None = None) -> Generator[R]:
    """``work(job)`` for each job, by ``threads`` at once (None: one a core), in the order of the jobs.

    What a job raises is raised in its turn. When the caller leaves, jobs that have begun are waited for, the others
    dropped.
    """
    count = threads or cores()
    pool = ThreadPoolExecutor(count, thread_name_prefix="convscope-batch")
    waiting: deque[Future[R]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_lock = threading.Lock()
_blocks = 0
_before = 1


@contextmanager
def one_thread_each() -> Generator[None]:
    """Within the block torch computes each operation in the thread that asks for it. Restored at its end.

    The number is the whole process's, so blocks that overlap are counted, and the last one out puts it back.
    """
    global _blocks, _before
    with _lock:
        if not _blocks:
            _before = torch.get_num_threads()
        _blocks += 1
        torch.set_num_threads(1)  # inside too: each thread that has run something has a number of its own
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                torch.set_num_threads(_before)
