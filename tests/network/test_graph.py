"""``backward_rule`` on the recorded graph against backward passes written by hand, and what it counts and refuses."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.graph import backward_rule, deconv, guided, inspect, let_through, nodes, unshut
from convscope.network.saved_fields import operation
from tests import nets, oracles
from tests.nets import gates
from tests.untouched import watch

RULES = {"guided": guided, "deconv": deconv}


def by_rule(net: nn.Module, x: Tensor, rule: str, *, target: int = 1, **options: bool) -> tuple[Tensor, int]:
    """What arrives at the image from one logit, and how many rectifiers took part."""
    x = x.clone().requires_grad_()
    logits = net(x.clone())
    with backward_rule(logits, RULES[rule], to=x, **options) as rectifiers:
        (arrived,) = torch.autograd.grad(logits[:, target].sum(), x)
    return arrived, rectifiers.count


def by_hand(net: nn.Sequential, x: Tensor, rule: str, *, target: int = 1) -> Tensor:
    seed = oracles.one_hot(net(x).detach(), target)
    return oracles.backward_by_hand(net, x, seed, rule=rule)


# ---- the rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_every_way_to_write_a_relu_gives_the_backward_pass_written_by_hand(
    factory: Callable[..., nn.Module], rule: str
) -> None:
    """Module, functional, in place, method, reused: 0 difference between them, and to the hand-written one rounding."""
    x = nets.images(3)
    arrived, count = by_rule(factory(), x, rule)
    assert count == 3
    assert torch.equal(arrived, by_rule(nets.plain(), x, rule)[0])
    assert torch.allclose(arrived, by_hand(nets.plain(), x, rule), rtol=0, atol=1e-16)
    (plain,) = torch.autograd.grad(nets.plain()(x.requires_grad_())[:, 1].sum(), x)
    assert (arrived - plain).abs().max() > 1e-3 * plain.abs().max()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("factory", [nets.overlapping_pool, nets.strided, nets.conv_relu_gap, nets.norm_dropout])
def test_pooling_strides_and_norms_in_between_are_left_as_they_are(
    factory: Callable[..., nn.Sequential], rule: str
) -> None:
    net, x = factory(), nets.images()
    assert torch.allclose(by_rule(net, x, rule)[0], by_hand(net, x, rule), rtol=0, atol=1e-15)


@pytest.mark.parametrize("rule", RULES)
def test_a_skip_path_counts_each_rectifier_once_and_passes_by_it(rule: str) -> None:
    """``h + relu(h)``, twice. Oracle: both paths walked by hand."""
    net, x = nets.skip(), nets.images()
    h1 = net.conv1(x)
    h2 = net.conv2(h1 + F.relu(h1))
    signal = (net.linear.weight[1] / h2[0, 0].numel())[None, :, None, None].expand_as(h2)
    signal = signal + oracles.RULES[rule](h2, signal)
    signal = oracles.transposed_convolution(net.conv2, signal, h1.shape)
    signal = signal + oracles.RULES[rule](h1, signal)
    expected = oracles.transposed_convolution(net.conv1, signal, x.shape)
    arrived, count = by_rule(net, x, rule)
    assert count == 2
    assert torch.allclose(arrived, expected, rtol=0, atol=1e-16)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["clamp at 0", "clamp_ at 0", "threshold"])
def test_rectifiers_that_equal_relu_give_what_relu_gives(name: str, rule: str) -> None:
    x = nets.images()
    assert torch.equal(by_rule(nets.rectified_by(name), x, rule)[0], by_rule(nets.plain(), x, rule)[0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", gates.RECTIFIERS)
def test_further_ways_to_clamp_at_zero_give_what_relu_gives(name: str, rule: str) -> None:
    x = nets.images()
    arrived, count = by_rule(gates.activated(gates.RECTIFIERS[name]), x, rule)
    assert count == 2
    assert torch.equal(arrived, by_rule(gates.activated(torch.relu), x, rule)[0])


@pytest.mark.parametrize("name", ["relu6", "clamp 0 to 1", "hardtanh 0 to 1"])
def test_a_rectifier_with_an_upper_bound_is_shut_above_it_by_guided_and_open_by_deconv(name: str) -> None:
    """Oracle: one rectifier by hand, with values below, in and above its range."""
    x = torch.tensor([[-1.0, 0.5, 9.0, 9.0, 0.5, -1.0]], dtype=torch.float64).requires_grad_()
    seed = torch.tensor([[1.0, 2.0, 3.0, -4.0, -5.0, -6.0]], dtype=torch.float64)
    output = nets.RECTIFIERS[name](x.clone())
    for rule, expected in ((guided, [0.0, 2.0, 0, 0, 0, 0]), (deconv, [1.0, 2.0, 3.0, 0, 0, 0])):
        with backward_rule(output, rule, to=x) as rectifiers:
            (arrived,) = torch.autograd.grad(output, x, seed, retain_graph=True)
        assert rectifiers.count == 1
        assert arrived.tolist() == [expected]


def test_a_rule_of_the_callers_own_gets_what_arrives_and_what_would_be_sent() -> None:
    """Oracle: one ReLU."""
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64).requires_grad_()
    got: list[list[float]] = []

    def note(grad_in: Tensor, grad_out: Tensor) -> Tensor:
        got.extend([grad_in.tolist(), grad_out.tolist()])
        return grad_out * 10

    output = x.relu()
    with backward_rule(output, note):
        (arrived,) = torch.autograd.grad(output, x, torch.tensor([3.0, -4.0], dtype=torch.float64))
    assert got == [[0.0, -4.0], [3.0, -4.0]]
    assert arrived.tolist() == [30.0, -40.0]


def test_hooks_end_with_the_block_and_after_an_exception() -> None:
    """Oracle: the plain gradient of the very same graph."""
    net, x = nets.plain(), nets.images().requires_grad_()
    score = net(x)[:, 0].sum()
    (plain,) = torch.autograd.grad(score, x, retain_graph=True)
    with backward_rule(score, deconv, to=x):
        (inside,) = torch.autograd.grad(score, x, retain_graph=True)
    assert torch.equal(torch.autograd.grad(score, x, retain_graph=True)[0], plain)
    with pytest.raises(KeyboardInterrupt), backward_rule(score, deconv, to=x):
        raise KeyboardInterrupt
    assert torch.equal(torch.autograd.grad(score, x, retain_graph=True)[0], plain)
    assert not torch.equal(inside, plain)


def test_rules_nest_as_functions_do() -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    score = net(x)[:, 0].sum()
    with backward_rule(score, guided, to=x), backward_rule(score, guided, to=x):
        (twice,) = torch.autograd.grad(score, x)
    assert torch.equal(twice, by_rule(net, nets.images(), "guided", target=0)[0])


# ---- which nodes take part -----------------------------------------------------------------------------------


def test_a_start_in_the_middle_leaves_rectifiers_above_and_below_alone() -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    low = net[:2](x)  # ends in relu1, which is not between
    middle = net[2:5](low)
    net[5:](middle)
    with backward_rule(middle, guided, to=low) as rectifiers:
        assert rectifiers.count == 1
    assert {operation(n) for n in nodes(middle, low)} == {"MaxPool2DWithIndices", "Convolution", "Relu"}


def test_branches_of_parameters_alone_hold_no_nonlinearity_of_the_network() -> None:
    """Weight norm and a parametrised weight with a ReLU and an exponential in it; oracle: the same weights, fixed."""
    net, x = gates.weight_normed(), nets.images()
    arrived, count = by_rule(net, x, "guided")
    fixed = gates.activated(torch.relu)
    weights = {"conv1.weight": net.conv1.weight, "conv2.weight": net.conv2.weight}
    others = {k: v for k, v in net.state_dict().items() if not k.startswith("conv") or k.endswith("bias")}
    fixed.load_state_dict({k: v.detach() for k, v in (others | weights).items()})
    assert count == 2
    assert torch.allclose(arrived, by_rule(fixed, x, "guided")[0], rtol=0, atol=1e-15)
    watch(fixed)
    logits = net(x.requires_grad_())
    with pytest.raises(ConvscopeError, match="Exp"), backward_rule(logits, guided):
        pytest.fail("without an end every branch takes part")


def test_several_outputs_are_walked_together() -> None:
    net, x = gates.two_heads(), nets.images().requires_grad_()
    output = net(x)
    with backward_rule(output["logits"], guided, to=x) as rectifiers:
        assert rectifiers.count == 1
    with backward_rule(list(output.values()), guided, to=x, partial=True) as rectifiers:
        assert rectifiers.count == 2
        assert rectifiers.left_plain == ("Sigmoid",)


@pytest.mark.parametrize("case", ["no path", "no graph", "no gradient asked for"])
def test_a_score_that_does_not_come_from_the_input_is_refused(case: str) -> None:
    net, x = nets.plain(), nets.images().requires_grad_()
    output, to, message = {
        "no path": (net(nets.images()), x, "no path leads"),
        "no graph": (net(x).detach(), x, "no graph was recorded"),
        "no gradient asked for": (net(x), nets.images(), "no path leads"),
    }[case]
    with pytest.raises(ConvscopeError, match=message), backward_rule(output, guided, to=to):
        pytest.fail("the block was entered")


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    ("factory", "name"),
    [
        (nets.view_write, "1 x CopySlices"),
        (nets.checkpointed, "1 x CheckpointFunction"),
        (nets.custom_function, "1 x _OwnReLU"),
    ],
)
def test_nodes_that_hide_what_is_inside_are_refused_by_name(
    factory: Callable[..., nn.Module], name: str, partial: bool
) -> None:
    with pytest.raises(ConvscopeError, match=f"cannot see inside {name}"):
        by_rule(factory(), nets.images(), "guided", partial=partial)


def test_a_compiled_part_is_refused_by_name() -> None:
    """The node that a compiler's own autograd function leaves, made by hand: no compiler is started."""

    class CompiledFunction(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.relu()

        @staticmethod
        def backward(ctx, grad: Tensor) -> Tensor:
            return grad

    x = nets.images().requires_grad_()
    with pytest.raises(ConvscopeError, match="1 x CompiledFunction"), backward_rule(CompiledFunction.apply(x), guided):
        pytest.fail("the block was entered")


def test_a_checkpoint_that_records_its_block_is_no_obstacle() -> None:
    """Oracle: the same weights without checkpointing."""
    x = nets.images()
    expected = by_rule(gates.activated(torch.relu), x, "guided")[1]
    arrived, count = by_rule(nets.checkpointed(False), x, "guided")
    assert count == expected == 2
    net = nets.checkpointed(False)
    by_parts = nn.Sequential(
        net.conv1, nn.ReLU(), net.conv2, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.linear
    )
    assert torch.allclose(arrived, by_hand(by_parts, x, "guided"), rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", gates.NONLINEAR)
def test_an_activation_that_is_no_rectifier_is_listed_and_refused_unless_left_plain_knowingly(name: str) -> None:
    activation, listed = gates.NONLINEAR[name]
    net, x = gates.activated(activation), nets.images()
    with pytest.raises(ConvscopeError, match=f"1 rectifiers, but also 1 x {listed}, .* partial=True"):
        by_rule(net, x, "guided")
    assert by_rule(net, x, "guided", partial=True)[1] == 1
    alone = gates.activated(activation, relu=False)
    for partial in (False, True):
        with pytest.raises(ConvscopeError, match=f"no rectifier .* 1 x {listed}: the rule would silently equal"):
            by_rule(alone, x, "guided", partial=partial)


def test_a_network_of_gelus_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="no rectifier between the score and the input, but 2 x Gelu"):
        by_rule(nets.gelu_only(), nets.images(), "deconv", partial=True)


def test_what_is_left_plain_is_left_plain() -> None:
    """Oracle: by hand, Hardswish by its derivative."""
    net, x = nets.hardswish_mix(), nets.images()
    kept = oracles.forward_by_hand(net, x)
    seed = oracles.one_hot(kept[-1], 1)
    above = oracles.backward_by_hand(net[2:], kept[2], seed, rule="guided")
    h = kept[1].requires_grad_()
    (signal,) = torch.autograd.grad(F.hardswish(h), h, above)
    expected = oracles.transposed_convolution(net[0], signal, x.shape)
    assert torch.allclose(by_rule(net, x, "guided", partial=True)[0], expected, rtol=0, atol=1e-16)


@pytest.mark.parametrize("rule", RULES)
def test_a_linear_path_and_products_with_constants_are_fine(rule: str) -> None:
    """Oracle: the gradient."""
    x = nets.images()
    arrived, count = by_rule(nets.linear_only(), x, rule)
    (plain,) = torch.autograd.grad(nets.linear_only()(x.requires_grad_())[:, 1].sum(), x)
    assert count == 0
    assert torch.equal(arrived, plain)
    assert by_rule(gates.times_constants(), nets.images(), rule)[1] == 1


def test_clipped_has_three_rectifiers_and_one_that_is_none() -> None:
    rectifiers, plain, opaque = inspect(nets.clipped()(nets.images().requires_grad_()))
    assert [operation(n) for n in rectifiers].count("Hardtanh") == 1
    assert len(rectifiers) == 3
    assert dict(plain) == {"Hardtanh": 1}
    assert not opaque


# ---- the way out of a rectifier that is shut -----------------------------------------------------------------


def test_let_through_opens_for_an_image_that_sends_nothing_and_only_upwards() -> None:
    """Oracle: one ReLU by hand; the first image is shut all over, the second is not, nothing reaches the third."""
    x = torch.tensor([[-1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]], dtype=torch.float64).requires_grad_()
    arrives = torch.tensor([[3.0, -4.0], [5.0, 6.0], [0.0, 0.0]], dtype=torch.float64)
    output = x.relu()
    with unshut(output, to=x) as count:
        (arrived,) = torch.autograd.grad(output, x, arrives, retain_graph=True)
    assert count == 1
    assert arrived.tolist() == [[3.0, 0.0], [0.0, 6.0], [0.0, 0.0]]
    assert torch.autograd.grad(output, x, arrives)[0].tolist() == [[0.0, 0.0], [0.0, 6.0], [0.0, 0.0]]


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 3, 2, 2)])
@pytest.mark.parametrize("shut", [[], [1], [0, 1, 2, 3]])
def test_let_through_asks_whether_every_number_of_an_image_is_zero(shape: tuple[int, ...], shut: list[int]) -> None:
    """Oracle: a loop over images; NaN is not zero, nor are numbers of one sign."""
    sends, arrives = nets.images(4).flatten(1), nets.images(4, seed=1).flatten(1)
    sends, arrives = (t[:, : math.prod(shape[1:])].reshape(shape).clone() for t in (sends, arrives))
    sends[0], sends[2], sends[3] = sends[0].clamp(max=0), sends[2].clamp(min=0), torch.nan
    sends[shut] = 0
    expected = [a.clamp(min=0) if (s == 0).all() else s for s, a in zip(sends, arrives, strict=True)]
    found = let_through(sends, arrives)
    assert torch.equal(found.nan_to_num(7), torch.stack(expected).nan_to_num(7))


@pytest.mark.parametrize("factory", nets.SAME_WEIGHTS)
def test_let_through_gives_the_gradient_where_rectifiers_are_open(factory: Callable[..., nn.Module]) -> None:
    """Oracle: the gradient; and every way to write a ReLU is seen when it is shut."""
    net, x = factory(), nets.images().requires_grad_()
    score = net(x.clone())[:, 1].sum()
    (plain,) = torch.autograd.grad(score, x, retain_graph=True)
    with unshut(score, to=x) as count:
        assert torch.equal(torch.autograd.grad(score, x)[0], plain)
    assert count == 3


@pytest.mark.parametrize("factory", [nets.gelu_only, nets.custom_function, nets.view_write])
def test_let_through_refuses_no_network_and_leaves_what_it_cannot_see_plain(factory: Callable[..., nn.Module]) -> None:
    net, x = factory(), nets.images().requires_grad_()
    score = net(x.clone())[:, 1].sum()
    (plain,) = torch.autograd.grad(score, x, retain_graph=True)
    with unshut(score, to=x):
        assert torch.equal(torch.autograd.grad(score, x)[0], plain)
