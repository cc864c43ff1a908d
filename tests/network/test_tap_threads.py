"""Several threads tap one model at once: each sees its own pass and its own edits, and nothing stays behind."""

import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from convscope.network.evaluation import evaluation
from convscope.network.taps import tap
from tests import nets

PASSES = 200


@pytest.fixture
def _often_switching() -> Iterator[None]:
    """Threads change over every few microseconds, in the middle of hooks."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*jobs: Callable[[], None]) -> None:
    """Run the jobs in a thread each, started together; the first error of any is raised here."""
    start, errors = threading.Barrier(len(jobs)), []

    def run(job: Callable[[], None]) -> None:
        try:
            start.wait()
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def one_pass(net: nn.Module, x: Tensor, layer: str, edited: str, factor: float) -> tuple[Tensor, Tensor, Tensor]:
    """Record, logits and the gradient at the record, with another layer's output multiplied."""
    with tap(net, layer, edit={edited: lambda a: a.mul_(factor)}, graph_from=layer) as seen:
        logits = net(x)
    return seen[layer].detach(), logits.detach(), torch.autograd.grad(logits[:, 0].sum(), seen[layer])[0]


@pytest.mark.usefixtures("_often_switching")
def test_two_threads_with_other_layers_edits_and_inputs_each_see_only_their_own() -> None:
    """Oracle: the same passes one after the other."""
    net = nets.reused_inplace_relu()
    work = [
        (net, nets.images(2), "conv1", "rectify#2", 2.0),
        (net, nets.images(3, seed=7), "rectify#1", "conv2", -1.0),
    ]
    alone = [one_pass(*job) for job in work]

    def job(number: int) -> None:
        for _ in range(PASSES):
            found = one_pass(*work[number])
            assert all(torch.equal(a, b) for a, b in zip(found, alone[number], strict=True))

    at_once(lambda: job(0), lambda: job(1))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


@pytest.mark.usefixtures("_often_switching")
def test_a_thread_without_a_tap_is_not_touched_by_one_with_edits_and_stops() -> None:
    net, x = nets.plain(), nets.images()
    plain = net(x)

    def tapping() -> None:
        for _ in range(PASSES):
            with tap(net, "pool1", edit={"conv1": torch.zeros_like}, stop=True):
                net(x)

    def running() -> None:
        for _ in range(PASSES):
            assert torch.equal(net(x), plain)

    at_once(tapping, running)


@pytest.mark.usefixtures("_often_switching")
def test_threads_that_hold_parts_of_one_model_give_it_back_in_the_mode_it_had() -> None:
    """One thread has the whole net in evaluation mode, one a part of it; oracle: the flags seen inside and after."""
    net = nets.norm_dropout(train=True)
    frozen = net.get_submodule("norm1").eval()
    wrapped = nn.Sequential(net.get_submodule("dropout"), nn.Identity())
    nets_watch = {name: part.training for name, part in net.named_modules()}

    def hold(model: nn.Module) -> Callable[[], None]:
        def job() -> None:
            for _ in range(PASSES):
                with evaluation(model):
                    assert not any(part.training for part in model.modules())

        return job

    at_once(hold(net), hold(wrapped), hold(net))
    assert {name: part.training for name, part in net.named_modules()} == nets_watch
    assert wrapped.training
    frozen.train()  # as it came
