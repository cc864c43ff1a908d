"""What ``tap`` refuses, where it stops, where its graph begins, and that nothing of it stays."""

import contextlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.taps import tap
from tests import nets
from tests.nets import aliasing, opaque
from tests.untouched import watch


def ran_in(net: nn.Module, run: Callable[[], object]) -> list[str]:
    """The names of the leaves that finished, in order."""
    done: list[str] = []
    leaves = [(name, part) for name, part in net.named_modules() if not list(part.children())]
    handles = [part.register_forward_hook(lambda *_, name=name: done.append(name)) for name, part in leaves]
    run()
    for handle in handles:
        handle.remove()
    return done


# ---- stop ----------------------------------------------------------------------------------------------------


def test_stop_leaves_the_network_once_all_was_seen_and_the_rest_of_the_block() -> None:
    """Oracle: the layers that a plain hook saw finish."""
    net, x, after = nets.plain(), nets.images(), []

    def run() -> None:
        with tap(net, "pool1", "conv1", stop=True) as seen:
            after.append(net(x))
        after.append(set(seen))

    assert ran_in(net, run) == ["conv1", "relu1", "pool1"]
    assert after == [{"conv1", "pool1"}]


def test_stop_at_a_reused_module_is_at_its_first_call_or_at_the_numbered_one() -> None:
    net, x = nets.reused_relu(), nets.images()
    with tap(net, "rectify#2") as whole:
        net(x)
    with tap(net, "rectify", stop=True) as first:
        net(x)
    with tap(net, "rectify#2", stop=True) as second:
        net(x)
    assert first["rectify"].shape == (2, 6, 12, 12)
    assert torch.equal(second["rectify#2"], whole["rectify#2"])


def test_stop_passes_a_network_that_catches_exceptions() -> None:
    net = aliasing.swallowing()
    with tap(net, "relu#1", stop=True) as seen:
        net(nets.images())
        pytest.fail("the block went on")
    assert seen["relu#1"].shape == (2, 6, 12, 12)


def test_an_inner_stop_ends_the_inner_block_only_and_an_outer_one_both() -> None:
    net, x = nets.plain(), nets.images()
    with tap(net, "conv1") as outer:
        with tap(net, "conv1", stop=True):
            net(x)
        logits = net(x)
    assert logits.shape == (2, nets.CLASSES)
    with tap(net, "conv1", stop=True) as outer:
        with tap(net, "linear2"):
            net(x)
        pytest.fail("the outer block went on")
    assert set(outer) == {"conv1"}


def test_an_outer_edit_above_an_inner_stop_is_no_error_once_it_acted() -> None:
    """An ablated network is explained by methods of which some stop early."""
    net, x = nets.plain(), nets.images()
    with tap(net, edit={"linear1": torch.zeros_like}):
        logits = net(x)
        with tap(net, "conv1", stop=True):
            net(x)
    assert torch.equal(logits[0], logits[1])
    never = pytest.raises(ConvscopeError, match="'linear1' never ran")
    with never, tap(net, edit={"linear1": torch.zeros_like}), tap(net, "conv1", stop=True):
        net(x)


# ---- the graph's start ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [nets.plain, nets.inplace_relu, nets.frozen, nets.overlapping_pool])
@pytest.mark.parametrize("layer", ["conv1", "relu1", "pool1", "relu2", "pool2"])
def test_gradients_above_a_start_are_those_of_the_full_graph(factory: Callable[..., nn.Module], layer: str) -> None:
    net, x = factory(), nets.images().requires_grad_()
    gradients = []
    for start in (None, layer):
        with tap(net, layer, graph_from=start) as seen:
            score = net(x)[:, 1].sum()
        gradients.append(torch.autograd.grad(score, seen[layer])[0])
    assert torch.equal(*gradients)


def test_below_a_start_nothing_is_recorded_or_kept_for_a_backward_pass() -> None:
    """Oracle: the bytes that autograd saves, against those of the net's own tail run alone."""
    net, x = nets.plain(), nets.images().requires_grad_()
    graphs: dict[str, bool] = {}

    def note(name: str) -> Callable[..., None]:
        return lambda _module, _args, output: graphs.update({name: output.requires_grad})

    def saved_by(run: Callable[[], object]) -> list[tuple[int, ...]]:
        shapes: list[tuple[int, ...]] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.append(tuple(t.shape)) or t, lambda t: t):
            run()
        return shapes

    def tapped() -> None:
        with tap(net, graph_from="relu2"):
            net(x)

    handles = [part.register_forward_hook(note(name)) for name, part in net.named_children()]
    saved = saved_by(tapped)
    assert [name for name, has in graphs.items() if not has] == ["conv1", "relu1", "pool1", "conv2", "relu2"]
    for handle in handles:
        handle.remove()
    with torch.no_grad():
        record = net[:5](x)
    assert saved == saved_by(lambda: net[5:](record.requires_grad_()))
    assert len(saved) < len(saved_by(lambda: net(x)))


@pytest.mark.parametrize("starts", [["left", "right"], ["right", "left"], ["left.0", "right.1"]])
@pytest.mark.parametrize("frozen", [False, True])
def test_several_starts_in_branches_beside_each_other(starts: list[str], frozen: bool) -> None:
    """Oracle: the full graph's gradients, also where no parameter asks for a graph of its own."""
    net, x = watch(aliasing.branches().requires_grad_(not frozen)), nets.images().requires_grad_()
    gradients = []
    for graph_from in (None, starts):
        with tap(net, *starts, graph_from=graph_from) as seen:
            score = net(x)[:, 0].sum()
        gradients.append(torch.autograd.grad(score, [seen[name] for name in starts]))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_several_starts_above_each_other_share_the_lowest_ones_graph() -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    names = ["relu2", "conv1", "linear1"]
    gradients = []
    for graph_from in (None, names):
        with tap(net, *names, graph_from=graph_from) as seen:
            score = net(x)[:, 0].sum()
        gradients.append(torch.autograd.grad(score, [seen[name] for name in names]))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_a_second_pass_in_the_block_begins_its_graph_anew() -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    with tap(net, "conv1", "relu2", graph_from="relu2") as seen:
        net(x)
        score = net(x).sum()
    assert not seen["conv1"].requires_grad
    assert seen["relu2"].is_leaf
    assert torch.autograd.grad(score, seen["relu2"])[0].abs().sum() > 0


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_start_gives_gradients_whatever_mode_is_around_and_gives_that_mode_back(around: Callable[[], object]) -> None:
    net, x = nets.plain(), nets.images()
    with tap(net, "relu2") as seen:
        score = net(x).sum()
    (expected,) = torch.autograd.grad(score, seen["relu2"])
    with around():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with tap(net, "relu2", graph_from="relu2") as seen:
            score = net(x).sum()
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    assert torch.equal(torch.autograd.grad(score, seen["relu2"])[0], expected)


def test_a_layer_of_whole_numbers_is_recorded_above_a_start() -> None:
    net, x = aliasing.odd_layers(), nets.images()
    with tap(net, "top", graph_from="relu") as seen:
        net(x)
    assert torch.equal(seen["top"], net.get_submodule("conv1")(x).relu().argmax(1))
    assert seen["top"].dtype == torch.int64


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "layer", "message"),
    [
        (nets.plain, "conv3", r"no layer 'conv3' in Sequential; did you mean 'conv[12]'"),
        (nets.unused_layer, "auxiliary", r"layer 'auxiliary' was asked for, but 'auxiliary' never ran in this pass"),
        (nets.shared_conv, "conv2", r"'conv2' runs more than once in a pass; name one call: 'conv2#1', 'conv2#2'"),
        (nets.shared_conv, "conv2#3", r"layer 'conv2#3' was asked for, but 'conv2' ran 2 times in this pass"),
        (nets.plain, "conv1#2", r"layer 'conv1#2' was asked for, but 'conv1' ran 1 time in this pass"),
        (aliasing.odd_layers, "pair", r"layer 'pair' returns a tuple, not a tensor; tap a layer inside it"),
        (aliasing.swallowing, "pair", r"layer 'pair' returns a tuple"),
        (aliasing.swallowing, "relu", r"'relu' runs more than once"),
    ],
)
def test_a_layer_without_one_tensor_a_pass_is_refused_also_where_the_network_catches_errors(
    factory: Callable[..., nn.Module], layer: str, message: str
) -> None:
    net = factory()
    with pytest.raises(ConvscopeError, match=message), tap(net, layer):
        net(nets.images())


def test_a_block_in_which_the_model_is_not_called_is_an_error() -> None:
    net, message = nets.plain(), "conv1: nothing to tap, the model itself was not called"
    with pytest.raises(ConvscopeError, match=message), tap(net, "conv1"):
        net[0](nets.images())


def test_a_pass_that_was_cut_by_a_caught_exception_is_an_error_of_its_own() -> None:
    net = nets.raises_on_call(1)
    never = pytest.raises(ConvscopeError, match="'linear' never ran")
    with never, tap(net, "linear"), contextlib.suppress(nets.OutOfOrder):
        net(nets.images())


def test_a_record_of_an_earlier_pass_is_not_taken_for_that_of_a_later_one_that_was_cut() -> None:
    net, x = nets.raises_on_call(2), nets.images()
    never = pytest.raises(ConvscopeError, match="'linear' never ran")
    with never, tap(net, "linear"):
        net(x)
        with contextlib.suppress(nets.OutOfOrder):
            net(x)


def test_a_tap_of_nothing_takes_any_model() -> None:
    model = opaque.scripted()
    with tap(model) as seen:
        model(nets.images())
    assert seen == {}


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (opaque.scripted, "TorchScript"),
        (opaque.traced_part, r"TorchScript \(Sequential, at '0'\)"),
        (opaque.compiled, "compiled model"),
        (opaque.compiled_part, r"compiled model \(Sequential, at 'conv1'\)"),
        (opaque.on_two_devices, "replicas on several devices"),
    ],
)
def test_models_that_cannot_be_seen_into_are_refused_by_name(factory: Callable[[], nn.Module], message: str) -> None:
    model = factory()
    with pytest.raises(ConvscopeError, match=message), tap(model, "conv1"):
        pytest.fail("the block was entered")


# ---- what is undone ------------------------------------------------------------------------------------------


def test_hooks_are_gone_after_an_exception_in_the_network(untouched) -> None:
    net = nets.raises_on_call(1)
    with pytest.raises(nets.OutOfOrder), tap(net, "conv1", edit={"linear": lambda a: a}, graph_from="conv1"):
        net(nets.images())
    assert torch.is_grad_enabled()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


@pytest.mark.parametrize("where", ["the network", "the edit", "the block"])
def test_hooks_are_gone_after_ctrl_c(where: str) -> None:
    net, x = nets.plain(), nets.images()

    def interrupt(a: Tensor) -> Tensor:
        raise KeyboardInterrupt

    def run() -> None:
        net(x)
        interrupt(x)

    handle = (
        net.get_submodule("pool2").register_forward_hook(lambda *_: interrupt(x)) if where == "the network" else None
    )
    with pytest.raises(KeyboardInterrupt), tap(net, "conv1", edit={"conv2": interrupt} if where == "the edit" else {}):
        run()
    if handle is not None:
        handle.remove()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())


def test_a_block_that_is_left_by_closing_its_generator_is_undone() -> None:
    net = nets.plain()
    block = tap(net, "conv1", graph_from="conv1")
    block.__enter__()
    net(nets.images())
    with contextlib.suppress(GeneratorExit):
        block.gen.close()
    assert not any(part._forward_hooks for part in net.modules())
    assert torch.is_grad_enabled()
