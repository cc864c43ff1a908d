"""What a snapshot says. Oracles: closed forms of nets with known weights, slow loops over images in float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.training.probe import Probe
from convscope.training.snapshot import restored, stored
from tests import friendly
from tests.nets import norm_dropout
from tests.training.known_net import at_once, known, layer, photos
from tests.untouched import watch


def test_loss_accuracy_and_confusion_are_those_of_a_slow_loop() -> None:
    net, (x, y) = norm_dropout(), photos(17)
    x = x.repeat(1, 3, 3, 3)
    split = at_once(Probe(net, None, (x, y), batch=5)).splits["data"]
    losses, right, confusion = [], 0, np.zeros((split.confusion.shape[0],) * 2, int)
    for image, label in zip(x, y.tolist(), strict=True):
        with torch.no_grad():
            logits = net(image[None])[0].tolist()
        losses.append(math.log(sum(math.exp(value) for value in logits)) - logits[label])
        answered = logits.index(max(logits))
        right += answered == label
        confusion[label, answered] += 1
    assert split.loss == pytest.approx(sum(losses) / 17, rel=1e-6)
    assert split.accuracy == right / 17
    np.testing.assert_array_equal(split.confusion, confusion)
    assert split.images == 17


def test_dead_units_norms_and_moments_of_a_net_with_known_weights() -> None:
    """Of x in [0, 1]: 3x and 4x live, -x - 0.5 and 0 are dead; |w|^2 = 9 + 1 + 16 + 0.25."""
    net, (x, y) = known(), photos()
    snapshot = at_once(Probe(net, ["conv", "relu", "dense"], (x, y), batch=5))
    conv, relu, dense = (layer(snapshot, name) for name in ("conv", "relu", "dense"))
    assert (conv.dead_share, relu.dead_share, dense.dead_share) == (0.5, 0.5, None)
    assert conv.weight_norm == pytest.approx(math.sqrt(26.25))
    assert relu.weight_norm is None
    values = torch.cat([3 * x, -x - 0.5, 0 * x, 4 * x], 1)
    assert conv.mean == pytest.approx(float(values.mean()), rel=1e-5)
    assert conv.sd == pytest.approx(float(values.std(correction=0)), rel=1e-5)
    assert conv.relative_change is None
    counts, _ = np.histogram(values.numpy().astype(np.float32), conv.edges)
    np.testing.assert_array_equal(conv.counts, counts)  # 16 positions an image: all are sampled
    assert snapshot.filters_layer == "conv"
    np.testing.assert_array_equal(snapshot.filters, net[0].weight.detach().numpy())


def test_a_unit_that_one_image_switches_on_lives() -> None:
    net, (x, y) = known(), photos()
    x[7, 0, 2, 2] = -1  # -x - 0.5 = 0.5 there
    assert layer(at_once(Probe(net, ["conv"], (x, y), batch=5)), "conv").dead_share == 0.25


def test_relative_change_is_that_of_the_weights_since_the_snapshot_before() -> None:
    net, data = known(), photos()
    probe = Probe(net, ["conv", "dense"], data, every=2)
    at_once(probe)
    with torch.no_grad():
        net[0].weight.mul_(2)
    watch(net)
    assert probe(1) is None
    first = layer(at_once(probe, 2), "conv")
    assert first.relative_change == pytest.approx(math.sqrt(26) / math.sqrt(26.25))
    second = at_once(probe, 4)
    assert layer(second, "conv").relative_change == 0
    assert layer(second, "dense").relative_change == 0
    assert [snapshot.epoch for snapshot in probe.snapshots] == [0, 2, 4]


def test_the_network_is_judged_in_evaluation_mode() -> None:
    net = norm_dropout()
    x, y = photos()
    x = x.repeat(1, 3, 3, 3)
    judged = at_once(Probe(net, None, (x, y))).splits["data"].loss
    watch(net.train())
    assert at_once(Probe(net, None, (x, y))).splits["data"].loss == judged


def test_maps_are_those_of_the_images_that_are_shown() -> None:
    """Images of three classes, the first of each; a map is 4 x (or 3 x), computed here."""
    net, (x, _) = known(), photos()
    y = torch.tensor([2, 2, 2, 2, 2, 2, 1, 1, 0, 0, 1, 2])
    snapshot = at_once(Probe(net, ["conv"], (x, y), units=["conv:3", "relu:0"], batch=3))
    first = [0, 6, 8]
    np.testing.assert_allclose(snapshot.maps["conv:3"], 4 * x[first, 0].numpy(), rtol=1e-6)
    np.testing.assert_allclose(snapshot.maps["relu:0"], 3 * x[first, 0].numpy(), rtol=1e-6)
    low, high = float(x.min()), float(x.max())
    assert snapshot.images is not None
    np.testing.assert_allclose(snapshot.images, ((x[first] - low) / (high - low)).numpy(), atol=1e-6)


def test_weights_are_counted_by_their_size() -> None:
    """Oracle: numpy, on the same edges; of ``conv`` 3, -1, 0, 4 and the biases 0, -0.5, 0, 0, a tenth larger."""
    net = known()
    with torch.no_grad():
        net[0].weight.mul_(1.1)  # off the edges, which are powers of two
        net[0].bias.mul_(1.1)
    watch(net)
    snapshot = at_once(Probe(net, ["conv", "relu", "dense"], photos()))
    conv = layer(snapshot, "conv")
    values = [3.3, -1.1, 0, 4.4, 0, -0.55, 0, 0]
    np.testing.assert_array_equal(conv.weight_counts, np.histogram(values, conv.weight_edges)[0])
    assert conv.weight_counts.sum() == len(values)
    assert layer(snapshot, "dense").weight_counts.sum() == 15
    assert len(layer(snapshot, "relu").weight_counts) == 0


class _Named(nn.Module):
    def __init__(self, net: nn.Module, said: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.net, self.said = net, said

    def forward(self, x: Tensor) -> Any:
        return self.said(self.net(x))


def test_a_network_that_answers_more_than_logits_is_looked_at_within_a_module_that_does_not() -> None:
    for said, given in ((lambda z: {"logits": z}, "dict"), (lambda z: (z, z), "tuple"), (lambda z: z[0], "Tensor of")):
        with pytest.raises(ConvscopeError, match=f"_Named returns a {given}.*self.net"):
            Probe(_Named(known(), said), None, photos())
    within = _Named(_Named(known(), lambda z: {"logits": z}), lambda found: found["logits"])
    seen, plain = at_once(Probe(within, None, photos())), at_once(Probe(known(), None, photos()))
    assert [state.name for state in seen.layers] == ["net.net.conv", "net.net.dense"]
    assert list(seen.scalars().values()) == list(plain.scalars().values())


def test_a_snapshot_comes_back_from_its_tensors_and_facts() -> None:
    net, data = known(), photos()
    probe = Probe(net, ["conv", "dense"], {"train": data, "held out": data}, units=["conv:0"], classes=["a", "b", "c"])
    there = at_once(probe)
    back = restored(*stored(there))
    assert (back.classes, back.scalars()) == (("a", "b", "c"), there.scalars())
    assert stored(back)[1] == stored(there)[1]
    for name, values in stored(there)[0].items():
        np.testing.assert_array_equal(stored(back)[0][name], values)
    assert set(there.scalars()) >= {"train/loss", "held out/accuracy", "layers/conv/dead_share"}
    assert "layers/dense/dead_share" not in there.scalars()


def test_weights_that_are_nan_are_told_and_end_nothing() -> None:
    net, data = known(), photos()
    probe = Probe(net, None, data)
    at_once(probe)
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    watch(net)
    lost = at_once(probe, 1)
    assert math.isnan(lost.splits["data"].loss)
    assert lost.embedding is None
    assert "NaN" in lost.left_out["embedding"]
    with torch.no_grad():
        net[0].weight.copy_(torch.ones(4, 1, 1, 1))
    watch(net)
    again = at_once(probe, 2)
    assert again.embedding is not None
    assert math.isfinite(again.splits["data"].loss)


def test_pictures_of_units_make_them_rise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the unit's own mean on the picture, as an input between the darkest and the brightest of the data."""
    net = norm_dropout(dtype=torch.float32)
    x, y = photos()
    x = x.float().repeat(1, 3, 3, 3)
    reached: list[float] = []
    for steps in (0, 24):
        monkeypatch.setattr("convscope.training.looking.PICTURE_STEPS", steps)
        probe = Probe(net, ["conv1"], (x, y), units=["conv1:2"], pictures=True)
        picture = torch.from_numpy(at_once(probe).pictures["conv1:2"])
        low, high = (edge((0, 2, 3))[:, None, None] for edge in (x.amin, x.amax))
        with torch.no_grad():
            reached.append(float(net.get_submodule("conv1")(low + picture * (high - low))[2].mean()))
        again = Probe(net, ["conv1"], (x, y), units=["conv1:2"], pictures=True)
        np.testing.assert_array_equal(at_once(again).pictures["conv1:2"], picture)
    assert reached[1] > reached[0]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"layers": ["convv"]}, "no layer 'convv' .*did you mean 'conv'"),
        ({"units": ["conv"]}, "names no unit"),
        ({"units": ["conv:9"]}, "4"),
        ({"units": ["conv:1@2,3"]}, "names no unit"),
        ({"embed": "fla"}, "no layer 'fla'.*'flat'"),
        (
            {"data": (torch.zeros(4, 3, 4, 4), torch.zeros(4, dtype=torch.int64))},
            "Sequential cannot take inputs of 3x4x4",
        ),
        ({"embedding": "tsne"}, "no embedding 'tsne'.*did you mean 't-sne'"),
        ({"classes": ["a", "b"]}, "2 classes are named, and the network answers 3"),
        ({"every": 0}, "every=0"),
        ({"batch": 0}, "batch=0"),
        ({"samples": 0}, "samples=0"),
        ({"pictures": True}, "name some"),
        ({"out": "a", "run": "b"}, "one of them"),
        ({"data": (photos()[0], torch.full((12,), 5))}, "class 5, and the network answers 0 to 2"),
    ],
)
def test_what_does_not_exist_is_refused_before_the_training(how: dict[str, object], message: str) -> None:
    given = {"layers": ["conv"], "data": photos(), **how}
    with pytest.raises(ConvscopeError, match=message):
        Probe(known(), given.pop("layers"), given.pop("data"), **given)  # pyright: ignore


def test_a_loaded_network_brings_its_classes_and_its_black_and_white() -> None:
    net, (x, y) = friendly.network(), photos()
    snapshot = at_once(Probe(net, ["conv2"], (x.float().repeat(1, 3, 3, 3), y), units=["conv2:1"]))
    assert snapshot.classes == net.classes
    low, high = friendly.PREPROCESS.bounds()
    wanted = ((x.float().repeat(1, 3, 3, 3)[:3] - low) / (high - low)).clamp(0, 1)
    assert snapshot.images is not None
    np.testing.assert_allclose(snapshot.images, wanted.numpy(), atol=1e-6)


def test_epochs_go_forward() -> None:
    probe = Probe(known(), ["conv"], photos())
    at_once(probe, 3)
    for epoch in (3, 2):
        with pytest.raises(ConvscopeError, match=f"epoch {epoch} after epoch 3"):
            probe(epoch)
    with pytest.raises(ConvscopeError, match="epoch -1"):
        probe(-1)
    assert probe.finish() is None


def test_a_functional_rectifier_and_a_norm_are_gone_through() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.second = nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(F.relu(self.norm(self.conv(x)))).mean((2, 3))

    with torch.random.fork_rng(devices=[]):
        net = Net()
    with torch.no_grad():
        net.conv.weight.fill_(-1)
        net.conv.bias.zero_()  # type: ignore
        net.norm.bias.copy_(torch.tensor([2.0, -2.0]))  # the first is lifted above zero, the second stays dead
    watch(net.eval())
    x, y = photos()
    snapshot = at_once(Probe(net, ["conv", "norm", "second"], (x.float(), y)))
    assert [state.dead_share for state in snapshot.layers] == [0.5, 0.5, None]
