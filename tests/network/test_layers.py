"""Names of layers and calls: the oracles are ``named_modules``, lists written by hand, and the split network."""

import threading
from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.layers import (
    LayerOutput,
    copied,
    find_call,
    find_calls,
    named_layers,
    number_calls,
    recorded_outputs,
    run_model,
    trace_layers,
)
from tests import nets, oracles
from tests.nets import opaque
from tests.untouched import watch

# ---- names ---------------------------------------------------------------------------------------------------


def nested() -> nn.Module:
    """Composites two deep and a ReLU under two names."""
    relu = nn.ReLU()
    block = nn.Sequential(OrderedDict(act=relu, pool=nn.MaxPool2d(2), again=relu))
    return nn.Sequential(OrderedDict(stage=nn.Sequential(block, nn.Identity()), drop=nn.Dropout())).eval()


def test_layers_are_the_named_modules_without_the_root_and_composites_are_among_them() -> None:
    net = nested()
    assert named_layers(net) == {name: part for name, part in net.named_modules() if name}
    assert list(named_layers(net)) == ["stage", "stage.0", "stage.0.act", "stage.0.pool", "stage.1", "drop"]


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda net: torch.compile(net, backend="eager"),
        lambda net: nn.DataParallel(torch.compile(net, backend="eager")),
        lambda net: torch.compile(nn.DataParallel(net), backend="eager"),
    ],
)
def test_wrappers_are_left_out_of_names_but_their_own_paths_are_understood(wrap: Callable[..., nn.Module]) -> None:
    net = nested()
    wrapped = wrap(net)
    assert named_layers(wrapped) == named_layers(net)
    path = next(path for path, part in wrapped.named_modules() if part is net.get_submodule("stage.0.pool"))
    for name in ("stage.0.pool", path):
        assert find_call(wrapped, name).module is net.get_submodule("stage.0.pool")
    assert find_call(wrapped, "stage.0.again#2").module is net.get_submodule("stage.0.act")  # an alias, in a wrapper


def test_a_wrapper_inside_a_network_is_left_out_too_and_a_layer_called_module_is_not() -> None:
    net = nn.Sequential(OrderedDict(body=nn.DataParallel(nested()), module=nn.Sequential(nn.ReLU())))
    assert "body.stage.0.act" in named_layers(net)
    assert not any("body.module" in name for name in named_layers(net))
    assert find_call(net, "module.0").module is net.get_submodule("module.0")


@pytest.mark.parametrize(("name", "number"), [("stage.0.act#1", 1), ("stage.0.act#12", 12), ("stage.0.act", None)])
def test_a_number_names_a_call(name: str, number: int | None) -> None:
    call = find_call(nested(), name)
    assert (call.path, call.number, type(call.module)) == ("stage.0.act", number, nn.ReLU)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stage.0.akt", r"no layer 'stage.0.akt' in Sequential; did you mean 'stage.0.act'"),
        ("STAGE.0.POOL", r"did you mean 'stage.0.pool'"),
        ("stage.0.zzzzzzzzzzzzz", r"inside 'stage.0' are stage.0.act, stage.0.pool"),
        ("stage.0.act#0", r"no layer 'stage.0.act#0' .*did you mean 'stage.0.act'"),
        ("stage.0.act#", r"no layer 'stage.0.act#'"),
        ("", r"no layer '' in Sequential \(`convscope layers` lists all 6\)"),
        ("#2", r"no layer '#2'"),
        ("stage\n.0", r"no layer 'stage\\n.0'"),
    ],
)
def test_a_name_that_is_none_is_refused_with_what_may_have_been_meant(name: str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        find_call(nested(), name)


@given(st.text())
def test_any_text_is_a_layer_or_refused(name: str) -> None:
    net = nested()
    try:
        found = find_calls(net, [name])
    except ConvscopeError:
        return
    assert found[name].module in set(net.modules()) - {net}


def test_all_names_of_a_large_network_are_found_in_one_walk() -> None:
    """Oracle: 3,000 walks over 3,000 modules would be nine million steps and take minutes."""
    net = nn.Sequential(*(nn.Identity() for _ in range(3000)))
    steps = 0
    walk = net.named_modules

    def counted(*args: object, **options: object):
        nonlocal steps
        for item in walk(*args, **options):
            steps += 1
            yield item

    net.named_modules = counted  # type: ignore[method-assign]
    assert len(find_calls(net, [str(i) for i in range(3000)])) == 3000
    assert steps < 10_000


# ---- running and tracing -------------------------------------------------------------------------------------


def test_inputs_are_one_tensor_a_tuple_or_any_mapping() -> None:
    class Batch(dict):
        """A mapping of another kind, as tokenizers give."""

    net, x, words = nets.two_inputs(), nets.images(), torch.ones(2, 4, dtype=torch.float64)
    expected = net(x, words)
    for inputs in ((x, words), {"words": words, "image": x}, Batch(image=x, words=words)):
        assert torch.equal(run_model(net, inputs), expected)


def test_copies_are_deep_and_keep_what_is_no_tensor() -> None:
    x = nets.images().requires_grad_()
    inner = {"image": x, "flag": True, "rest": (x, None)}
    found = copied(inner)
    assert found["flag"] is True
    assert found["rest"][1] is None
    for copy in (found["image"], found["rest"][0], copied(x)):
        assert torch.equal(copy, x)
        assert copy.data_ptr() != x.data_ptr()
        assert copy.grad_fn is not None  # still in x's graph


@pytest.mark.parametrize("graph", [False, True])
def test_outputs_are_recorded_in_the_order_in_which_the_calls_ended(graph: bool) -> None:
    """Oracle: the list by hand, and the outputs of ``plain``'s own parts."""
    x = nets.images()
    found = recorded_outputs(nets.reused_relu(), x, graph=graph)
    names = "conv1 rectify#1 pool1 conv2 rectify#2 pool2 squash flatten linear1 rectify#3 linear2"
    assert " ".join(item.name for item in found) == names
    for item, expected in zip(found, oracles.forward_by_hand(nets.plain(), x)[1:], strict=True):
        assert torch.equal(item.output, expected)
        assert item.output.requires_grad is graph


def test_composites_come_after_their_parts_and_layers_without_a_tensor_are_left_out() -> None:
    class Both(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.ReLU(), nn.Identity())
            self.both = Both()
            self.never = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.both(self.body(x))[0]

    assert [item.name for item in recorded_outputs(Net(), nets.images())] == ["body.0", "body.1", "body"]


def test_a_trace_leaves_input_modes_and_model_as_they_were() -> None:
    """The fixture looks at the model; its own input it must not write into."""
    x = nets.images()
    trace_layers(nets.writes_input(), x, lambda _: None)
    assert torch.equal(x, nets.images())
    net = watch(nets.norm_dropout(train=True))
    trace_layers(net, x, lambda item: None if not item.module.training else pytest.fail("in training mode"))
    with pytest.raises(nets.OutOfOrder):
        trace_layers(nets.raises_on_call(1), x, lambda _: None)


def test_a_trace_is_of_its_own_thread_alone() -> None:
    net, x, seen = nets.plain(), nets.images(), []

    def visit(item: LayerOutput) -> None:
        if item.name == "conv1":  # another thread runs the network in the middle of the pass
            thread = threading.Thread(target=net, args=(x,))
            thread.start()
            thread.join()
        seen.append(item.name)

    trace_layers(net, x, visit)
    assert seen == [name for name, _ in net.named_children()]


def test_a_trace_of_what_cannot_be_seen_into_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="TorchScript"):
        recorded_outputs(opaque.scripted(), nets.images())


def test_first_calls_get_their_number_only_where_there_is_a_second() -> None:
    calls = [LayerOutput(name, nn.Identity(), torch.zeros(1)) for name in ("a", "b", "a#2", "c.a", "a#3")]
    assert [item.name for item in number_calls(calls)] == ["a#1", "b", "a#2", "c.a", "a#3"]
