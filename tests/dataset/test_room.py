"""Out of memory, played by a work function that refuses more than it has room for."""

import threading
from itertools import chain

import pytest
import torch

from convscope.dataset.room import NoRoomError, Room, is_out_of_memory

SAYINGS = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory: you tried to"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("could not create a memory object"),
)


@pytest.mark.parametrize("error", SAYINGS, ids=lambda error: str(error)[:30])
def test_every_way_of_saying_it_halves_the_batch(error):
    sizes = []

    def work(some):
        sizes.append(len(some))
        if len(some) > 3:
            raise error
        return list(some)

    room = Room(work, 16, at_once=1)
    assert list(chain(*room.run(list(range(20))))) == list(range(20))
    assert sizes == [16, 8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]
    assert room.limit == 2
    assert room.run([1, 2, 3]) == [[1, 2], [3]]


def test_a_real_allocation_that_is_too_large_is_told():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert is_out_of_memory(caught.value)


def test_what_the_network_was_said_to_refuse_may_be_memory():
    refusal = ValueError("the network cannot take an input of 3 x 9 x 9")
    assert not is_out_of_memory(refusal)
    refusal.__cause__ = MemoryError()
    assert is_out_of_memory(refusal)


def test_other_errors_come_through_at_once():
    calls = []

    def work(some):
        calls.append(len(some))
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        Room(work, 4, at_once=2).run([1, 2, 3, 4])
    assert calls == [4]


def test_one_item_that_never_fits():
    def work(some):
        raise MemoryError

    with pytest.raises(NoRoomError):
        Room(work, 4, at_once=3).run([1, 2, 3, 4])


def test_one_item_that_fits_alone_waits_for_the_others():
    running, most = 0, 0
    lock, begun = threading.Lock(), threading.Event()

    def work(some):
        nonlocal running, most
        with lock:
            running += 1
            alone = running == 1
        try:
            if some == ["large"] and not alone:
                begun.set()
                raise MemoryError
            if some == ["small"]:
                begun.wait(10)  # the large one has tried beside this one
            return some
        finally:
            with lock:
                running -= 1

    room = Room(work, 1, at_once=2)
    small = threading.Thread(target=room.run, args=[["small"]])
    small.start()
    while not running:
        pass
    assert room.run(["large"]) == [["large"]]
    small.join()


def test_the_failed_attempt_is_gone_before_the_next():
    class Large:
        alive = 0

        def __init__(self) -> None:
            Large.alive += 1

        def __del__(self) -> None:
            Large.alive -= 1

    before = []

    def work(some):
        before.append(Large.alive)
        held = Large()
        if len(some) > 1:
            raise MemoryError(held.alive)
        return 1

    Room(work, 4, at_once=1).run([1, 2, 3, 4])
    assert before == [0] * len(before)
