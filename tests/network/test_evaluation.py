"""``evaluation``: the flags of every module, and the modes of torch, are as before, whoever else is inside."""

import contextlib
import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn

from convscope.network import evaluation as module
from convscope.network.evaluation import evaluation
from tests import nets
from tests.nets import opaque
from tests.untouched import watch


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: part.training for name, part in model.named_modules()}


@pytest.fixture
def mixed() -> nn.Module:
    """In training mode, with one batch norm frozen in evaluation mode, and a train() of its own that must not run."""
    net = nets.norm_dropout(train=True)
    net.get_submodule("norm1").eval()
    net.train = net.eval = lambda *_: pytest.fail("train() or eval() of the model was called")  # type: ignore[method-assign]
    return watch(net)


def test_every_flag_comes_back_also_those_that_the_block_changed(mixed: nn.Module) -> None:
    before = flags(mixed)
    with evaluation(mixed):
        assert set(flags(mixed).values()) == {False}
        mixed.get_submodule("norm1").training = True
    assert flags(mixed) == before
    assert before["norm1"] is False
    assert before["dropout"] is True


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_flags_come_back_after_an_error(mixed: nn.Module, error: type[BaseException]) -> None:
    before = flags(mixed)
    with pytest.raises(error), evaluation(mixed):
        raise error
    assert flags(mixed) == before


def test_an_interrupt_on_the_way_in_is_undone(mixed: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the flags before; every module is interrupted at once."""
    before, count = flags(mixed), len(list(mixed.modules()))
    setting = module._set

    for stop_at in range(count):
        calls = 0

        def interrupted(part: nn.Module, training: bool, stop_at: int = stop_at) -> None:
            nonlocal calls
            calls += 1
            if calls == stop_at + 1:
                raise KeyboardInterrupt
            setting(part, training)

        with monkeypatch.context() as patch:
            patch.setattr(module, "_set", interrupted)
            with pytest.raises(KeyboardInterrupt), evaluation(mixed):
                pytest.fail("the block was entered")
        assert flags(mixed) == before
        assert not module._held


def test_blocks_nest_and_the_outermost_gives_the_flags_back(mixed: nn.Module) -> None:
    before = flags(mixed)
    with evaluation(mixed):
        with evaluation(mixed), evaluation(mixed.get_submodule("norm1")):
            pass
        assert set(flags(mixed).values()) == {False}
    assert flags(mixed) == before


@pytest.mark.parametrize("second", ["the whole", "a part", "a wrapper"])
@pytest.mark.parametrize("first_out", [0, 1])
def test_two_threads_leave_in_any_order(mixed: nn.Module, second: str, first_out: int) -> None:
    """Each holds the whole net, a part of it or a wrapper around it; flags come back with the last that leaves."""
    models = [
        mixed,
        {"the whole": mixed, "a part": mixed.get_submodule("dropout"), "a wrapper": nn.Sequential(mixed)}[second],
    ]
    before = [flags(model) for model in models]
    leave = [threading.Event(), threading.Event()]
    both_in = threading.Barrier(3)

    def hold(number: int) -> None:
        with evaluation(models[number]):
            both_in.wait(10)
            leave[number].wait(10)

    threads = [threading.Thread(target=hold, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    both_in.wait(10)
    leave[first_out].set()
    threads[first_out].join(10)
    assert set(flags(models[1 - first_out]).values()) == {False}
    leave[1 - first_out].set()
    threads[1 - first_out].join(10)
    assert [flags(model) for model in models] == before
    assert not module._held


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad, contextlib.nullcontext])
def test_gradients_are_on_inside_and_the_mode_around_is_back_after(around: Callable[[], object]) -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    (expected,) = torch.autograd.grad(net(x).sum(), x)
    with around():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with evaluation(net):
            inside = x.clone()
            assert not inside.is_inference()
            (found,) = torch.autograd.grad(net(inside).sum(), x)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert torch.equal(found, expected)


def test_a_batch_does_not_mix_and_statistics_stay(mixed: nn.Module) -> None:
    """Oracle: each image alone. The fixture sees to the running statistics and the random state."""
    x = nets.images(4)
    with evaluation(mixed):
        together = mixed(x)
        alone = torch.cat([mixed(image[None]) for image in x])
    assert torch.allclose(together, alone, rtol=0, atol=1e-14)


def test_a_scripted_model_is_put_in_evaluation_mode_and_back() -> None:
    model = opaque.scripted()
    model.train()
    with evaluation(model):
        assert set(flags(model).values()) == {False}
    assert set(flags(model).values()) == {True}


def test_nothing_is_kept_of_a_model_after_the_block() -> None:
    with evaluation(nets.plain()):
        assert module._held
    assert not module._held
