"""The most memory one call takes beyond what stood before it, measured in a process of its own.

Linux keeps the highest resident size of a process (``VmHWM``) and sets it back on request (``clear_refs``); so no
sample is missed. Every call gets a fresh process: what an earlier call left in the allocator would hide it. The
number of ``getrusage`` is of no use here: a process inherits it from the one that started it. On a GPU torch's
allocator is asked instead.
"""

import multiprocessing
import re
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch


def peak_mebibytes(prepare: Callable[[], Callable[[], object]]) -> float:
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
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # 5: set VmHWM back to the present size
    before = _highest_kibibytes()
    call()
    sender.send((_highest_kibibytes() - before) / 2**10)


def _highest_kibibytes() -> int:
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    if found is None:
        raise OSError("/proc/self/status has no VmHWM: peak memory is measured on Linux only")
    return int(found[1])
