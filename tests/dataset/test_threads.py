"""Order, look-ahead and what is left behind: the oracle is ``map`` in one thread."""

import threading
import time

import pytest
import torch

from convscope.dataset.threads import AHEAD, cores, in_order, one_thread_each


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(threads):
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(in_order(range(40), work, threads)) == [n * n for n in range(40)]


def test_no_more_than_a_few_jobs_are_asked_for_ahead():
    asked = 0

    def jobs():
        nonlocal asked
        for number in range(100):
            asked = number
            yield number

    results = in_order(jobs(), lambda n: n, 2)
    for number in range(20):
        assert next(results) == number
        assert asked - number <= 2 * AHEAD
    results.close()


def test_an_error_comes_in_its_turn_and_the_rest_is_dropped():
    done = []

    def work(number: int) -> int:
        if number == 3:
            raise RuntimeError("the third")
        done.append(number)
        return number

    results = in_order(range(1000), work, 2)
    found = [next(results) for _ in range(3)]
    with pytest.raises(RuntimeError, match="the third"):
        next(results)
    assert found == [0, 1, 2]
    assert len(done) < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("convscope-batch")]


def test_jobs_that_have_not_begun_are_dropped():
    done = []

    def work(number: int) -> None:
        if number == 0:
            raise RuntimeError("the first")
        time.sleep(0.2)
        done.append(number)

    with pytest.raises(RuntimeError, match="the first"):
        list(in_order(range(3), work, 1))
    assert 2 not in done


def test_jobs_are_done_at_once():
    both = threading.Barrier(2, timeout=10)
    assert list(in_order(range(2), lambda _: both.wait() >= 0, 2)) == [True, True]


def test_torch_has_one_thread_in_workers_and_its_own_number_afterwards():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread_each():
            assert list(in_order(range(4), lambda _: torch.get_num_threads(), 2)) == [1] * 4
            with one_thread_each():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_torchs_threads_come_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError), one_thread_each():
        raise RuntimeError
    assert torch.get_num_threads() == before


def test_there_is_a_core():
    assert cores() >= 1
