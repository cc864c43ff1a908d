"""Branching. Oracle: the whole network on copies of the images, with the same edit, whatever lies below the layer."""

import threading

import pytest
import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.branching import Branch, find_branch
from convscope.network.evaluation import evaluation
from convscope.network.layers import recorded_outputs
from convscope.network.main_path import last_cut
from convscope.network.taps import tap
from convscope.network.targets import class_logits
from tests import nets
from tests.nets import hard_net


def scaled(generator: torch.Generator, rows: int):
    factors = torch.rand(rows, generator=generator, dtype=torch.float64)
    return lambda activation: activation * factors.reshape(-1, *[1] * (activation.ndim - 1))


def rows_at(branch: Branch, x: Tensor, copies: int) -> Tensor:
    if branch.cut is None:
        return torch.cat([x] * copies)
    with tap(branch.model, branch.cut) as seen:
        branch.model(x)
    return torch.cat([seen[branch.cut]] * copies)


def outputs(branch: Branch, x: Tensor, copies: int, edits) -> Tensor:
    with evaluation(branch.model), torch.no_grad():
        return class_logits(branch.above(x, rows_at(branch, x, copies), edits))


@pytest.mark.parametrize("factory", [*nets.EVERY, nets.writes_input])
def test_what_lies_above_gives_what_the_whole_network_gives(factory, generator: torch.Generator) -> None:
    net, x = factory(), nets.images(2)
    layers = [one.name for one in recorded_outputs(net, x)]
    for layer in layers:
        branch = find_branch(net, x, [layer])
        edits = {layer: scaled(generator, 6)}
        expected = outputs(Branch(net, (layer,), None), x, 3, edits)
        torch.testing.assert_close(outputs(branch, x, 3, edits), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factory", [*nets.SAME_WEIGHTS, nets.residual, nets.skip, nets.shared_conv])
def test_below_the_cut_no_image_runs(factory) -> None:
    """The cut is known by hand, and convolutions below it have nothing to compute."""
    net, x = factory(), nets.images(2)
    layer = {"residual": "conv2", "skip": "conv2", "shared_conv": "conv2#2"}.get(factory.__name__, "conv2")
    cut = {"residual": "stem"}.get(factory.__name__, layer)
    branch = find_branch(net, x, [layer])
    assert (branch.cut, branch.stand_in) == (cut, 0)
    seen: list[int] = []
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    rows = rows_at(branch, x, 2)
    handle = first.register_forward_hook(lambda _m, _a, out: seen.append(len(out)))
    with evaluation(net), torch.no_grad():
        branch.above(x, rows, {})
    handle.remove()
    assert seen == [0]


def test_the_cut_below_several_layers_is_that_of_the_first() -> None:
    net, x = nets.residual(), nets.images(1)
    assert last_cut(net, x, ["conv2", "down"]) == "stem"
    assert last_cut(net, x, ["down", "linear"]) == "down"
    assert last_cut(net, x, ["stem"]) == "stem"
    with pytest.raises(ConvscopeError, match="no call of a layer 'dawn' in this pass; did you mean 'down'"):
        last_cut(net, x, ["dawn"])


class _Hidden(nn.Module):
    """A path round ``conv2`` that the graph does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.linear = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x).relu()
        return self.linear((self.conv2(h) + h.detach()).mean((2, 3)))


class _HiddenMean(_Hidden):
    """The hidden path would be stretched to any number of rows."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x).relu()
        return self.linear(self.conv2(h).mean((2, 3)) + h.detach().mean((0, 2, 3)))


class _OneOrMore(_Hidden):
    """Below the cut, nothing is no input."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x - x.amax())  # refuses a batch without images
        return self.linear(self.conv2(h.relu()).mean((2, 3)))


class _InPlace(_Hidden):
    """Goes on with the argument of an in-place layer, and not with what the layer returns."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x)
        self.relu(h)
        return self.linear(self.conv2(h).mean((2, 3)))


class _Counts(_Hidden):
    """Folds the images of the batch, which it has counted at its input."""

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(self.conv1(x).relu())
        return self.linear(h.reshape(len(x), 4, -1).mean(2))


hidden, hidden_mean, one_or_more, in_place, counts = map(
    hard_net, (_Hidden, _HiddenMean, _OneOrMore, _InPlace, _Counts)
)


@pytest.mark.parametrize(("factory", "cut", "stand_in"), [
    (hidden, None, 0), (hidden_mean, None, 0), (one_or_more, "conv2", 1), (counts, None, 0),
])  # fmt: skip
def test_what_is_not_proved_runs_whole(factory, cut, stand_in) -> None:
    branch = find_branch(factory(), nets.images(2), ["conv2"])
    assert (branch.cut, branch.stand_in) == (cut, stand_in)


def test_an_in_place_layer_whose_argument_goes_on() -> None:
    net = in_place()
    assert find_branch(net, nets.images(2), ["relu"]).cut is None
    assert find_branch(net, nets.images(2), ["conv2"]).cut == "conv2"


def test_one_image_does_not_hide_a_hidden_path() -> None:
    """Stretched over copies of the one image the hidden path would give the right answer."""
    assert find_branch(hidden_mean(), nets.images(1), ["conv2"]).cut is None


def test_a_network_without_a_graph_runs_whole_and_a_missing_layer_is_refused() -> None:
    assert find_branch(nets.no_grad(), nets.images(1), ["conv2"]).cut is None
    with pytest.raises(ConvscopeError, match="no layer 'conv3'"):
        find_branch(nets.skip(), nets.images(1), ["conv3"])
    with pytest.raises(ConvscopeError, match="runs more than once"):
        find_branch(nets.shared_conv(), nets.images(1), ["conv2"])
    with pytest.raises(ConvscopeError, match="never ran"):
        find_branch(nets.unused_layer(), nets.images(1), ["auxiliary"])


def test_two_threads_branch_one_network(generator: torch.Generator) -> None:
    net = nets.residual()
    xs = [nets.images(2, seed=seed) for seed in range(2)]
    branch = find_branch(net, xs[0], ["conv2"])
    edit = scaled(generator, 4)
    expected = [outputs(Branch(net, ("conv2",), None), x, 2, {"conv2": edit}) for x in xs]
    found: dict[int, list[Tensor]] = {0: [], 1: []}

    def work(number: int) -> None:
        for _ in range(20):
            found[number].append(outputs(branch, xs[number], 2, {"conv2": edit}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(2):
        assert len(found[number]) == 20
        for one in found[number]:
            torch.testing.assert_close(one, expected[number], rtol=0, atol=1e-12)
