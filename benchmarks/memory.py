"""The most memory one call takes beyond what stood before it, measured in a process of its own.

The high-water mark of a process (``ru_maxrss``) never falls, so every call that is measured gets a fresh process.
On a GPU torch's allocator is asked in its place.
"""

import multiprocessing
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch


def peak_megabytes(prepare: Callable[[], Callable[[], object]]) -> float:
    """What the call that ``prepare()`` returns adds at its peak; ``prepare`` must be importable (not a lambda)."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(prepare, sender))
    process.start()
    sender.close()  # so that a process that dies is an EOFError here, not a wait for ever
    try:
        return receiver.recv()
    finally:
        process.join()


def _measure(prepare: Callable[[], Callable[[], object]], sender: Connection) -> None:
    torch.set_num_threads(1)
    call = prepare()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        sender.send((torch.cuda.max_memory_allocated() - before) / 2**20)
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    sender.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)
