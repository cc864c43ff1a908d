"""``watch`` shows every layer's own output at once. Oracles: the network run by hand, and ``tap``."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.layers import recorded_outputs
from convscope.network.taps import tap
from convscope.network.watching import watch
from tests import nets, oracles
from tests.nets import aliasing, opaque


def seen_by(net: nn.Module, x: Tensor, layers: list[str]) -> list[tuple[str, Tensor]]:
    """Clones, in the order in which they were shown."""
    seen: list[tuple[str, Tensor]] = []
    with torch.no_grad(), watch(net, layers, lambda layer, output: seen.append((layer, output.clone()))):
        net(x)
    return seen


def test_every_output_is_the_layers_own_before_the_next_writes_into_it() -> None:
    """Oracle: the layers called one by one."""
    net, x = nets.inplace_relu(), nets.images()
    names = [name for name, _ in net.named_children()]
    seen = seen_by(net, x, names)
    assert [name for name, _ in seen] == names
    for (name, output), expected in zip(seen, oracles.forward_by_hand(net, x)[1:], strict=True):
        assert torch.equal(output, expected), name


@pytest.mark.parametrize("factory", nets.EVERY)
def test_watching_every_call_of_every_layer_shows_what_tap_records_and_changes_nothing(
    factory: Callable[..., nn.Module],
) -> None:
    net, x = factory(), nets.images()
    with torch.no_grad():
        names = [item.name for item in recorded_outputs(net, x)]
        expected = net(x)
        with tap(net, *names) as records:
            net(x)
        seen: dict[str, Tensor] = {}
        with watch(net, names, lambda layer, output: seen.update({layer: output.clone()})):
            assert torch.equal(net(x), expected)
    assert set(seen) == set(names)
    for name, record in records.items():
        assert torch.equal(seen[name], record), name


def test_a_numbered_call_is_that_call() -> None:
    net, x = nets.reused_relu(), nets.images()
    with torch.no_grad(), tap(net, "rectify#1", "rectify#3") as records:
        net(x)
    seen = dict(seen_by(net, x, ["rectify#3", "rectify#1"]))
    assert torch.equal(seen["rectify#1"], records["rectify#1"])
    assert torch.equal(seen["rectify#3"], records["rectify#3"])


def test_counts_begin_anew_in_every_pass() -> None:
    net, x, shown = nets.reused_relu(), nets.images(), []
    with torch.no_grad(), watch(net, ["rectify#2"], lambda layer, _: shown.append(layer)):
        for _ in range(3):
            net(x)
    assert shown == ["rectify#2"] * 3


def test_threads_that_run_at_once_each_see_their_own_pass_in_their_own_thread() -> None:
    """Oracle: the first layer computed alone for that thread's images."""
    net = nets.reused_inplace_relu()
    mine = threading.local()
    together = threading.Barrier(4, timeout=30)

    def visit(layer: str, output: Tensor) -> None:
        if layer == "conv1":
            mine.seen = output.clone()
        together.wait()  # all four are inside their hooks

    def job(seed: int) -> tuple[Tensor, Tensor]:
        x = nets.images(seed=seed)
        with torch.no_grad():
            net(x)
            return mine.seen, net.get_submodule("conv1")(x)

    with watch(net, ["conv1", "rectify#2", "conv2"], visit), ThreadPoolExecutor(4) as pool:
        for seen, expected in pool.map(job, range(4)):
            assert torch.equal(seen, expected)


@pytest.mark.parametrize(
    ("factory", "layer", "message"),
    [
        (nets.reused_relu, "rectify", "'rectify' runs more than once in a pass; name one call: 'rectify#1'"),
        (nets.reused_relu, "rectify#9", "'rectify#9' was asked for, but 'rectify' ran 3 times"),
        (nets.unused_layer, "auxiliary", "'auxiliary' was asked for, but 'auxiliary' never ran"),
        (aliasing.odd_layers, "pair", "'pair' returns a tuple, not a tensor"),
        (aliasing.swallowing, "pair", "'pair' returns a tuple, not a tensor"),
        (nets.plain, "conv3", "no layer 'conv3' in Sequential; did you mean"),
    ],
)
def test_what_a_name_cannot_mean_is_refused(factory: Callable[..., nn.Module], layer: str, message: str) -> None:
    """As in ``tap``; also where the network swallows the error."""
    with pytest.raises(ConvscopeError, match=message):
        seen_by(factory(), nets.images(), [layer])


def test_after_a_refusal_the_next_pass_begins_anew() -> None:
    net, x, shown = nets.plain(), nets.images(), []
    failing = [True]

    def visit(layer: str, _output: Tensor) -> None:
        if failing[0]:
            raise KeyError(layer)
        shown.append(layer)

    with torch.no_grad(), watch(net, ["conv1", "conv2"], visit):
        with pytest.raises(KeyError, match="conv1"):
            net(x)
        failing[0] = False
        net(x)
    assert shown == ["conv1", "conv2"]


def test_what_the_visitor_raises_is_raised_though_the_network_swallows_it() -> None:
    def visit(_layer: str, _output: Tensor) -> None:
        raise ConvscopeError("cannot be read")

    net = aliasing.swallowing()
    with torch.no_grad(), watch(net, ["relu#1"], visit), pytest.raises(ConvscopeError, match="cannot be read"):
        net(nets.images())


def test_a_layer_called_outside_a_pass_is_not_shown() -> None:
    net, x, shown = nets.plain(), nets.images(), []
    with torch.no_grad(), watch(net, ["conv1"], lambda layer, _: shown.append(layer)):
        net.get_submodule("conv1")(x)
    assert shown == []


def test_a_compiled_model_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="TorchScript"), watch(opaque.scripted(), ["conv1"], lambda *_: None):
        pass
