"""No method leaves a trace: after success, an exception, Ctrl-C in either direction, and from two threads at once.

The autouse fixture compares the model (weights, flags, hooks, ``.grad``) and torch's own state at each test's end.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.attribution import METHODS, Method, deconvnet, grad_cam
from tests import nets
from tests.untouched import Untouched

METHOD = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
WITHOUT_GRADIENTS = ("cam", "ablation-cam", "score-cam", "eigen-cam", "occlusion", "rise")
NOISY = ("smooth-grad", "var-grad")  # at x + noise, which rounds otherwise than x - 0.5 + noise
# Grad-CAM++ refuses a map that is not rectified, and the ReLUs of some nets here are functions, not layers
ON_ANY_MAP = pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.name != "grad-cam++"], ids=lambda m: m.name
)
WITH_GRADIENTS = pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.name not in WITHOUT_GRADIENTS], ids=lambda m: m.name
)


# ---- a call that succeeds ----


@METHOD
@pytest.mark.parametrize("factory", [nets.gap_linear, nets.norm_dropout, nets.conv_relu_gap])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_raw_detached_finite_and_precise(
    method: Method, factory: Callable[..., nn.Module], dtype: torch.dtype, untouched: Untouched
) -> None:
    """float32, or float64 for a network in float64; nothing of the graph; the network answers as before."""
    net, x = factory(dtype=dtype), nets.images(dtype=dtype)
    before = net(x)
    values = method(net, x)
    assert values.dtype == dtype
    assert not values.requires_grad
    assert values.grad_fn is None
    assert values.isfinite().all()
    assert torch.equal(net(x), before)
    untouched.check()


@METHOD
@pytest.mark.parametrize("leaf", [False, True])
def test_the_input_stays_as_it_is(method: Method, leaf: bool) -> None:
    x = nets.images().requires_grad_(leaf)
    version = x._version
    method(nets.gap_linear(), x, target=1)
    assert torch.equal(x, nets.images())
    assert x._version == version
    assert x.requires_grad == leaf
    assert x.grad is None
    assert not x._backward_hooks


@ON_ANY_MAP
def test_a_network_that_writes_into_its_input_writes_into_a_copy(method: Method) -> None:
    """Oracle: the same network with the subtraction outside; CAM and the default layer run passes of their own."""
    net, x = nets.writes_input(), nets.images()
    outside = nets.raises_for(lambda x: False)  # the same layers and weights
    values = method(net, x, target=1)
    assert torch.equal(x, nets.images())
    assert x._version == 0
    if method.name not in (*NOISY, "input-x-gradient", "integrated-gradients", "score-cam", "occlusion", "rise"):
        assert torch.equal(values, method(outside, x - 0.5, target=1))


@pytest.mark.parametrize(
    "method", [m for m in METHODS.values() if m.name not in ("cam", "grad-cam++")], ids=lambda m: m.name
)
def test_other_inputs_stay_as_they_are(method: Method) -> None:
    net, image, words = nets.two_inputs(), nets.images(), _words()
    method(net, (image, words), target=1)
    method(net, {"words": words, "image": image}, wrt="image", target=1)
    for tensor, made in ((image, nets.images()), (words, _words())):
        assert torch.equal(tensor, made)
        assert tensor._version == 0
        assert tensor.grad is None
        assert not tensor.requires_grad


def _words() -> Tensor:
    return nets.images(2, 1, 1, 4).reshape(2, 4)


@METHOD
def test_the_same_call_gives_the_same_bits(method: Method) -> None:
    net, x = nets.norm_dropout(train=True), nets.images()
    assert torch.equal(method(net, x), method(net, x))


@METHOD
def test_gradients_that_a_user_has_gathered_stay(method: Method, untouched: Untouched) -> None:
    net, x = nets.norm_dropout(), nets.images()
    net(x).sum().backward()
    untouched.watch(net)
    method(net, x)
    untouched.check()
    assert all(weight.grad is not None for weight in net.parameters())


@METHOD
def test_hooks_of_a_user_stay_and_run(method: Method, untouched: Untouched) -> None:
    net, ran = nets.gap_linear(), list[str]()
    handles = [net.get_submodule("relu1").register_forward_hook(lambda *_: ran.append("forward"))]
    handles.append(net.register_forward_pre_hook(lambda *_: ran.append("before")))
    untouched.watch(net)
    method(net, nets.images())
    untouched.check()
    assert {"forward", "before"} <= set(ran)
    for handle in handles:
        handle.remove()
    untouched.watch(net)


# ---- a call that does not succeed ----


@ON_ANY_MAP
def test_nothing_stays_after_an_exception_in_any_forward_pass(method: Method) -> None:
    """A network that fails in its n-th pass, for every n up to the first that is never reached."""
    for n in range(1, 40):
        net = _train(nets.raises_on_call(n))
        try:
            method(net, nets.images(), target=1)
        except nets.OutOfOrder:
            assert net.calls == n
        else:
            break
    assert n > 1


@METHOD
def test_nothing_stays_after_ctrl_c_in_a_forward_pass(method: Method) -> None:
    for n in range(1, 40):
        net = Untouched.watch(_Interrupted(n))
        try:
            method(net, nets.images(), target=1)
        except KeyboardInterrupt:
            pass
        else:
            break
    assert n > 1


class _Interrupted(nn.Module):
    """Ctrl-C in the middle of the n-th forward pass."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.inside, self.left = _train(nets.gap_linear()), n

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        h = self.inside[:2](x)
        if self.left == 0:
            raise KeyboardInterrupt
        return self.inside[2:](h)


class _InterruptedBackward(nn.Module):
    """Ctrl-C, or an error, while the backward pass goes through the middle of the network."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.inside, self.error = nets.norm_dropout(train=True), error

    def forward(self, x: Tensor) -> Tensor:
        h = self.inside[:3](x)
        if h.requires_grad:
            h.register_hook(self.interrupt)
        return self.inside[3:](h)

    def interrupt(self, _: Tensor) -> None:
        raise self.error


@WITH_GRADIENTS
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_stays_after_ctrl_c_in_a_backward_pass(
    method: Method, error: type[BaseException], untouched: Untouched
) -> None:
    net = untouched.watch(_InterruptedBackward(error))
    options = {"layer": "inside.relu1"} if method.needs_layer else {}
    with pytest.raises(error):
        method(net, nets.images(), **options)
    untouched.check()
    assert net.training
    assert net.inside.training


@METHOD
def test_nothing_stays_after_a_refusal(method: Method, untouched: Untouched) -> None:
    net = untouched.watch(nets.norm_dropout(train=True))
    options: list[dict[str, Any]] = [
        {"target": 99},
        {"target": [1] * 7},
        {"target": "nowhere:1"},
        {"wrt": 0, "target": "?"},
    ]
    if "layer" in method.defaults:
        options += [{"layer": "nowhere"}, {"layer": "linear", "target": None}]
    for given in options:
        with pytest.raises(ValueError, match=r"."):
            method(net, nets.images(), **given)
        untouched.check()


@ON_ANY_MAP
def test_a_network_still_works_after_a_failure(method: Method) -> None:
    """Oracle: the same call on a network that has never failed: no block of the first was left open."""
    x = nets.images()
    net = nets.raises_for(lambda x: bool((x > 50).any()))
    with pytest.raises(nets.OutOfOrder):
        method(net, x + 100, target=1)
    assert torch.equal(method(net, x, target=1), method(nets.raises_for(lambda x: False), x, target=1))


# ---- two threads ----


class _Meeting(nn.Module):
    """Two threads meet in the middle of their first forward pass, so that both have the model in hand."""

    def __init__(self, inside: nn.Module, threads: int) -> None:
        super().__init__()
        self.inside, self.met = inside, threading.local()
        self.barrier = threading.Barrier(threads, timeout=30)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inside[:2](x)
        if not hasattr(self.met, "already"):
            self.met.already = True
            self.barrier.wait()
        return self.inside[2:](h)


@METHOD
def test_two_threads_explain_one_model_in_train_mode_at_once(method: Method, untouched: Untouched) -> None:
    """Oracle: the same calls one after the other, bit for bit; the flags come back when the last one is done."""
    images = [nets.images(seed=seed) for seed in range(2)]
    expected = [method(nets.norm_dropout(), x, target=i) for i, x in enumerate(images)]
    for _ in range(3):
        net = untouched.watch(_Meeting(nets.norm_dropout(train=True), 2))
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda pair, net=net: method(net, pair[1], target=pair[0]), enumerate(images)))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        untouched.check()


def test_all_methods_at_once_on_one_model(untouched: Untouched) -> None:
    """Oracle: the same calls one after the other, bit for bit; taps and rules act in their own thread only."""
    x = nets.images()
    calls: list[Callable[[nn.Module], Tensor]] = [lambda net, m=m: m(net, x) for m in METHODS.values()]
    calls += [lambda net, u=u: deconvnet(net, x, target=f"conv2:{u}") for u in range(4)]
    calls += [lambda net, la=la: grad_cam(net, x, layer=la, relu=False) for la in ("conv1", "relu1", "pool1", "relu2")]
    net = untouched.watch(_train(nets.gap_linear()))
    expected = [call(net) for call in calls]
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(call, net) for _ in range(4) for call in calls]
        found = [future.result() for future in futures]
    for number, values in enumerate(found):
        assert torch.equal(values, expected[number % len(calls)])
    untouched.check()


def test_a_failure_in_one_thread_does_not_disturb_another(untouched: Untouched) -> None:
    net, x = _train(nets.raises_for(lambda x: bool((x > 50).any()))), nets.images()
    expected = grad_cam(net, x, target=1, layer="conv1")

    def explain(fails: bool) -> Tensor | None:
        try:
            return grad_cam(net, x + 100 * fails, target=1, layer="conv1")
        except nets.OutOfOrder:
            return None

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(explain, [i % 2 == 1 for i in range(40)]))
    assert [values is None for values in found] == [i % 2 == 1 for i in range(40)]
    assert all(torch.equal(values, expected) for values in found if values is not None)
    untouched.check()


def _train(net: nn.Module) -> Any:
    return Untouched.watch(net.train())
