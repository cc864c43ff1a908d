"""Memory that stays with the program. Oracle: the system's count of page faults, in a process of its own."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from convscope.cli.allocator import keep_memory

if sys.argv[1] == "kept":
    assert keep_memory()
for _ in range(10):
    torch.empty(2**26).fill_(1)  # 256 MiB, given back each time
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    torch.empty(2**26).fill_(1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    run = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, timeout=120)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is set")
def test_blocks_that_are_freed_and_asked_for_again_are_not_faulted_in_again() -> None:
    given_back = faults("given back")
    assert given_back > 5 * 100  # at least one a huge page of 2 MiB
    # now and then a block finds its place taken by a small one, and goes to a new place once
    assert faults("kept") < given_back / 2
