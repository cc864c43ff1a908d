"""One pass: leaf, scores, records, and what is left behind. Oracles: the split net, torch's own gradient."""

import gc
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import backward_rule, guided
from convscope.network.passes import explained_input, forward, gradient_of, image_leaf, raw
from tests import nets, oracles
from tests.nets import gates, opaque

WORDS = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(2, 4)


# ---- the pass ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.frozen])
@pytest.mark.parametrize("target", [None, 1, [4, 0]])
def test_the_gradient_of_the_score_is_that_written_by_hand(factory: Callable[..., nn.Module], target: Any) -> None:
    net, x = factory(), nets.images()
    with evaluation(net):
        run = forward(net, x, target=target)
        (found,) = gradient_of(run.scores, [run.image], ["the input"])
    plain = nets.frozen() if factory is nets.frozen else nets.plain()
    logits = plain(x)
    classes = logits.argmax(1).tolist() if target is None else [target] * 2 if isinstance(target, int) else target
    assert run.scores.tolist() == [logits[i, c].item() for i, c in enumerate(classes)]
    for i, c in enumerate(classes):
        expected = oracles.gradient(plain, x[i : i + 1], c)
        assert torch.allclose(found[i : i + 1], expected, rtol=0, atol=1e-16)
    assert not x.requires_grad


def test_a_network_that_writes_into_its_input_writes_into_a_copy() -> None:
    """Of the callers tensor and of the leaf; oracle: the same net on a shifted image."""
    x = nets.images()
    with evaluation(net := nets.writes_input()):
        run = forward(net, x, target=0)
        (found,) = gradient_of(run.scores, [run.image], ["the input"])
    assert torch.equal(x, nets.images())
    assert torch.equal(run.image, x)
    shifted = nets.images().sub(0.5).requires_grad_()
    (expected,) = torch.autograd.grad(net.head(net.conv2(net.conv1(shifted).relu()).relu())[:, 0].sum(), shifted)
    assert torch.equal(found, expected)


def test_a_scripted_network_is_explained_where_no_layer_need_be_seen() -> None:
    """Oracle: the same net in Python; several passes, since TorchScript fuses from the second on."""
    net, x = opaque.scripted(), nets.images()
    expected = oracles.gradient(nets.plain(), x, 1)
    for _ in range(4):
        with evaluation(net):
            run = forward(net, x, target=1)
            assert torch.allclose(gradient_of(run.scores, [run.image], ["the input"])[0], expected, rtol=0, atol=1e-15)
    with pytest.raises(ConvscopeError, match="TorchScript"), evaluation(net):
        forward(net, x, target="conv1:0")


def test_a_unit_stops_the_pass_and_its_layers_are_recorded() -> None:
    net, x = nets.raises_for(lambda _: True), nets.images()  # raises after conv1: the pass must not get there
    with evaluation(net):
        run = forward(net, x, target="conv1:2@3,4")
    assert run.output is None
    assert torch.equal(run.scores, net.conv1(x)[:, 2, 3, 4])
    assert torch.equal(run.activations["conv1"], net.conv1(x))


def test_a_unit_above_a_graph_start_has_a_gradient_there() -> None:
    """The score is made after the tap stopped, above a graph that began in the middle. Oracle: the split net."""
    net, x = nets.plain(), nets.images()
    with evaluation(net):
        run = forward(net, x, target=["linear1:3", "linear1:5"], layers=["relu1"], graph_from=["relu1"])
        (found,) = gradient_of(run.scores, [run.activations["relu1"]], ["relu1"])
    record = net[:2](x).detach().requires_grad_()
    rows = net[2:9](record)
    assert torch.equal(found, torch.autograd.grad(rows[0, 3] + rows[1, 5], record)[0])
    assert not run.image.requires_grad


@pytest.mark.parametrize("score", ["logit", "probability"])
def test_a_probability_is_explained_through_its_softmax(score: str) -> None:
    """Oracle: central differences."""
    net, x = nets.plain(), nets.images(1, h=8, w=8)
    with evaluation(net):
        run = forward(net, x, target=2, score=score)
        (found,) = gradient_of(run.scores, [run.image], ["the input"])

    def by_hand(image: Tensor) -> Tensor:
        logits = net(image)
        return (logits.softmax(1) if score == "probability" else logits)[:, 2]

    assert torch.allclose(found, oracles.central_differences(by_hand, x), rtol=0, atol=1e-9)


def test_scores_that_are_not_one_an_image_are_refused() -> None:
    with evaluation(net := nets.plain()), pytest.raises(ConvscopeError, match="returned 5 scores for 2 images"):
        forward(net, nets.images(), target=lambda output: output.mean(0))


def test_an_image_made_in_inference_mode_is_explained_and_the_callers_tensor_may_change_afterwards() -> None:
    """Oracle: the same image, made as usual."""
    with torch.inference_mode():
        x = nets.images() + 0.0
    for image in (x, nets.images()):
        with evaluation(net := nets.plain()):
            run = forward(net, image, target=1)
            with torch.inference_mode():
                image.zero_()
            (found,) = gradient_of(run.scores, [run.image], ["the input"])
        assert torch.equal(run.image, nets.images())
        assert torch.allclose(found, oracles.gradient(net, nets.images(), 1), rtol=0, atol=1e-16)


# ---- several inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "wrt"),
    [
        ((nets.images(), WORDS), 0),
        ((nets.images(), WORDS), 1),
        ({"image": nets.images(), "words": WORDS}, 0),
        ({"words": WORDS, "image": nets.images()}, "image"),
        ({"words": WORDS, "image": nets.images()}, "words"),
        ({"words": WORDS, "image": nets.images()}, 0),  # the first
    ],
)
def test_one_of_several_inputs_is_explained(x: Any, wrt: int | str) -> None:
    """Oracle: torch's own gradient."""
    net = nets.two_inputs()
    image, words = nets.images().requires_grad_(), WORDS.clone().requires_grad_()
    slopes = torch.autograd.grad(net(image, words)[:, 1].sum(), [image, words])
    explained = explained_input(x, wrt)
    with evaluation(net):
        run = forward(net, x, target=1, wrt=wrt)
        (found,) = gradient_of(run.scores, [run.image], ["the input"])
    assert torch.equal(found, slopes[0] if explained.ndim == 4 else slopes[1])


def test_inputs_that_are_no_images_are_handed_on_as_they_are() -> None:
    class Asked(nn.Module):
        def forward(self, words: Tensor, image: Tensor, scale: float, mask: Tensor | None) -> Tensor:
            assert words.dtype == torch.int64
            assert mask is None
            return image.mean((2, 3)) * scale + words

    x = {"words": torch.ones(2, 3, dtype=torch.int64), "image": nets.images(), "scale": 2.0, "mask": None}
    with evaluation(net := Asked()):
        run = forward(net, x, target=0, wrt="image")
        (found,) = gradient_of(run.scores, [run.image], ["the input"])
    assert torch.allclose(found[:, 0], torch.full((2, 12, 12), 2 / 144, dtype=torch.float64), rtol=0, atol=1e-16)


@pytest.mark.parametrize(
    ("x", "wrt", "message"),
    [
        ((nets.images(), WORDS), 2, "no input 2; the network is given 0, 1"),
        ((nets.images(), WORDS), -1, "no input -1"),
        ((nets.images(), WORDS), "image", "no input 'image'"),
        ({"image": nets.images()}, "picture", "no input 'picture'; the network is given 'image'"),
        ({"image": nets.images()}, 1, "no input 1"),
        ({}, 0, "no input 0; the network is given none"),
        (
            torch.ones(1, 3, 4, 4, dtype=torch.uint8),
            0,
            "the explained input is torch.uint8; it must be a float",
        ),
        ((torch.ones(2, dtype=torch.int64), nets.images()), 0, "the explained input is torch.int64"),
    ],
)
def test_an_input_that_is_not_there_or_no_image_is_refused(x: Any, wrt: int | str, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        explained_input(x, wrt)


def test_a_leaf_is_one_only_where_gradients_are_on_and_asked_for() -> None:
    x = nets.images()
    assert image_leaf(x)[0].requires_grad
    assert not image_leaf(x, leaf=False)[0].requires_grad
    with torch.no_grad():
        assert not image_leaf(x)[0].requires_grad


# ---- where a backward rule begins ----------------------------------------------------------------------------


def rectifiers_of(net: nn.Module, target: Any, **options: Any) -> tuple[int, tuple[str, ...]]:
    with evaluation(net):
        run = forward(net, nets.images(), target=target, **options)
        with backward_rule(run.network_end, guided, to=run.image, partial=True) as found:
            return found.count, found.left_plain


def test_the_scores_own_softmax_is_no_part_of_the_network() -> None:
    assert rectifiers_of(nets.plain(), 1, score="probability") == (3, ())
    assert rectifiers_of(nets.plain(), lambda out: out.log_softmax(1)[:, 1]) == (3, ())
    assert rectifiers_of(gates.two_heads(), lambda out: out["logits"].log_softmax(1)[:, 1]) == (1, ())


def test_every_output_that_the_score_depends_on_is_followed_and_no_other() -> None:
    """A head through a sigmoid beside the logits."""
    assert rectifiers_of(gates.two_heads(), lambda out: out["embedding"][:, 0]) == (2, ("Sigmoid",))
    assert rectifiers_of(gates.two_heads(), lambda out: out["embedding"][:, 0] + out["logits"][:, 1]) == (
        2,
        ("Sigmoid",),
    )
    net = gates.two_heads()
    wrapped = nn.Sequential(net)
    wrapped.register_forward_hook(lambda *io: SimpleNamespace(**io[-1]))  # an object with .logits and .embedding
    assert rectifiers_of(wrapped, 1) == (1, ())
    assert rectifiers_of(wrapped, lambda out: out.embedding[:, 0]) == (2, ("Sigmoid",))


def test_units_are_followed_from_their_own_layers() -> None:
    assert rectifiers_of(nets.plain(), "conv2:1") == (1, ())
    assert rectifiers_of(nets.plain(), ["conv2:1", "relu1:0"]) == (1, ())
    assert rectifiers_of(nets.plain(), ["conv2:1", 3]) == (3, ())
    net = nn.Sequential(gates.two_heads())
    net.register_forward_hook(lambda *io: io[-1]["logits"])
    assert rectifiers_of(net, 0) == (1, ())
    assert rectifiers_of(net, ["0.aux:1", 0]) == (2, ())  # the unit's branch does not lead to the logits
    assert rectifiers_of(net, ["0.aux:1", "0.aux:1"]) == (2, ())


# ---- what cannot be differentiated ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factory", "layer", "target", "message"),
    [
        (
            nets.no_grad,
            None,
            0,
            "the score does not depend on the input, or the network's forward pass turns grad",
        ),
        (nets.no_grad, "conv1", 0, "does not depend on conv1"),
        (nets.plain, "linear2", "conv1:0", "the score does not depend on linear2"),
        (nets.plain, None, lambda output: torch.zeros(2), "the score does not depend on the input"),
    ],
)
def test_a_score_without_a_gradient_is_refused_by_name(
    factory: Callable[..., nn.Module], layer: str | None, target: Any, message: str
) -> None:
    with evaluation(net := factory()):
        run = forward(net, nets.images(), target=target, layers=[layer] if layer else [])
        with pytest.raises(ConvscopeError, match=message):
            gradient_of(run.scores, [run.activations[layer] if layer else run.image], [layer or "the input"])


def test_a_layer_below_no_grad_is_refused_by_name_though_the_score_has_a_graph() -> None:
    """A frozen trunk under a trained head, as for transfer learning."""

    class Trunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.plain()

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                h = self.net[:9](x)
            return self.net[9:](h)

    with evaluation(net := Trunk()):
        run = forward(net, nets.images(), target=0, layers=["net.conv1"])
        assert run.scores.requires_grad
        with pytest.raises(ConvscopeError, match=r"the score does not depend on net\.conv1"):
            gradient_of(run.scores, [run.activations["net.conv1"]], ["net.conv1"])


# ---- precision and memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_runs_and_is_raised_at_the_end(dtype: torch.dtype) -> None:
    """Oracle: the same weights in float64, to the precision of the type."""
    with evaluation(net := nets.plain(dtype=dtype)):
        run = forward(net, nets.images(dtype=dtype), target=1)
        found = raw(gradient_of(run.scores, [run.image], ["the input"])[0])
    expected = oracles.gradient(nets.plain(), nets.images(), 1)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert not found.requires_grad
    assert (found - expected).abs().max() <= 8 * torch.finfo(dtype).eps * expected.abs().max()


def one_pass(net: nn.Module, how: str) -> object:
    with evaluation(net):
        if how == "the logits":
            run = forward(net, nets.images(), target=1)
            gradient_of(run.scores, [run.image], ["the input"])
        elif how == "a unit":
            run = forward(net, nets.images(), target="conv1:0@1,1")
        elif how == "a graph start":
            run = forward(net, nets.images(), target=1, layers=["relu1"], graph_from=["relu1"])
        else:
            run = forward(net, nets.images(), target=1)
            with backward_rule(run.network_end, guided, to=run.image):
                gradient_of(run.scores, [run.image], ["the input"])
    return run


HOWS = ["the logits", "a unit", "a graph start", "a rule"]


@pytest.mark.parametrize("how", HOWS)
def test_a_pass_is_freed_when_it_goes_out_of_sight(how: str) -> None:
    """No cycle waits for the garbage collector, which would keep a pass's activations for a while."""
    net = nets.inplace_relu()
    gc.collect()
    gc.disable()
    try:
        run = one_pass(net, how)
        watched = [weakref.ref(run), weakref.ref(run.image), weakref.ref(run.scores)]
        watched += [weakref.ref(a) for a in run.activations.values()]
        del run
        assert [ref() for ref in watched] == [None] * len(watched)
    finally:
        gc.enable()


@pytest.mark.parametrize("how", HOWS)
def test_fifty_passes_leave_as_many_tensors_and_hooks_as_one(how: str) -> None:
    """Oracle: a count of every live tensor and graph node in the process."""

    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(item), Tensor | torch.autograd.graph.Node) for item in gc.get_objects())

    net = nets.inplace_relu()
    one_pass(net, how)
    before = alive()
    for _ in range(50):
        one_pass(net, how)
    assert alive() == before
