"""The shard function against a full sort of all activations, and against itself however it is asked."""

import json
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

from convscope.dataset.exemplars import Exemplars
from convscope.dataset.image_rows import ImageRows
from convscope.dataset.statistics import UnitStatistics
from convscope.dataset.sweep import sweep
from convscope.network.passes import outputs_of
from tests import nets
from tests.dataset.small_survey import Photos, network, noise, plan_of, shards_of
from tests.untouched import watch

LAYERS = ("conv1", "relu2", "linear2")
Tensors = dict[str, np.ndarray]


def under(part: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in part.items() if name.startswith(prefix)}


def parts(net, source, plan, **options) -> list[Tensors]:
    return [sweep(net, source, plan, shard, **options) for shard in shards_of(source, plan)]


def same_bits(first: Tensors, second: Tensors) -> None:
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype, name
        assert tensor.shape == second[name].shape, name
        assert tensor.tobytes() == second[name].tobytes(), name


def activations(net, source, layers) -> dict[str, np.ndarray]:
    """All layers' outputs ``(n, u, h w)`` on all photos, in one pass."""
    x = torch.cat([net.input_of(source.read(name).image) for name in source.names()])
    return {
        name: a.flatten(1).unflatten(1, (a.shape[1], -1)).numpy()
        for name, a in outputs_of(net.module, x, *layers).items()
    }


@pytest.mark.parametrize(("batch", "shards"), [(1, 1), (1, 7), (64, 1), (64, 7)])
def test_exemplars_equal_a_full_sort_of_1000_images(batch, shards):
    net, source = network(nets.inplace_relu(dtype=torch.float32)), Photos(noise(1000))
    plan = plan_of(source, LAYERS, batch=batch, shard_size=-(-1000 // shards))
    found = parts(net, source, plan)
    assert len(found) == shards
    for layer, every in activations(net, source, LAYERS).items():
        merged = Exemplars(plan.top)
        for part in found:
            merged.merge(Exemplars.from_tensors(under(part, f"{layer}/exemplars/")))
        values, images, y, x = merged.compute()
        strongest = every.max(2)  # (n, u)
        expected = -np.sort(-strongest, axis=0, kind="stable")[: plan.top].T
        np.testing.assert_allclose(values, expected, atol=1e-5)
        units = np.arange(len(values))[:, None]
        np.testing.assert_allclose(strongest[images, units], values, atol=1e-5)
        w = round(every.shape[2] ** 0.5)
        np.testing.assert_allclose(every[images, units, y * w + x], values, atol=1e-5)
        assert all(len(set(row)) == plan.top for row in images.tolist())
        order = np.argsort(-strongest, axis=0, kind="stable")[: plan.top].T
        clear = np.abs(np.diff(expected, axis=1, prepend=np.inf, append=-np.inf))
        apart = np.minimum(clear[:, :-1], clear[:, 1:]) > 1e-4  # no neighbour that rounding could change places with
        assert apart.mean() > 0.5
        np.testing.assert_array_equal(images[apart], order[apart])


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_same_bits_for_any_number_of_threads(threads):
    net, source = network(nets.residual(dtype=torch.float32)), Photos(noise(60))
    layers = ("stem", "conv2", "linear")
    plan = plan_of(source, layers, batch=4, pattern_layers=("conv2",))
    (one,) = parts(net, source, plan, threads=1)
    (many,) = parts(net, source, plan, threads=threads)
    same_bits(one, many)


def test_the_same_bits_whatever_torchs_threads():
    net, source = network(nets.plain(dtype=torch.float32)), Photos(noise(20))
    plan = plan_of(source, LAYERS)
    (one,) = parts(net, source, plan, threads=1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        (other,) = parts(net, source, plan, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    same_bits(one, other)


def test_the_part_has_the_promised_names_and_types():
    net, source = network(nets.plain(dtype=torch.float32)), Photos(noise(10))
    plan = plan_of(source, LAYERS, pattern_layers=("conv1",), features=5)
    (part,) = parts(net, source, plan)
    assert part["features/images"].tolist() == [0, 2, 4, 6, 8]
    assert part["conv1/features"].shape == (5, 6)
    assert part["conv1/shape"].tolist() == [6, 12, 12, 144]
    assert part["linear2/shape"].tolist() == [5, 1, 1, 1]
    assert {name.split("/")[0] for name in part} == {"images", "features", *LAYERS}
    assert {name.split("/")[1] for name in part if name.startswith("conv1/")} == {
        "shape", "features", "exemplars", "statistics", "patterns",
    }  # fmt: skip
    assert not any(name.startswith("relu2/patterns") for name in part)
    assert all(tensor.flags.c_contiguous for tensor in part.values())
    rows = ImageRows.from_tensors(under(part, "images/"))
    assert rows.number.tolist() == list(range(10))
    assert rows.label.tolist() == [0, 1, 2, 3, 4] * 2
    assert [row.tobytes() for row in rows.digest] == [source.digest(name) for name in source.names()]
    assert (rows.input_size == nets.SIDE).all()


def test_rows_and_features_are_those_of_plain_passes():
    net, source = network(nets.plain(dtype=torch.float32)), Photos(noise(12))
    (part,) = parts(net, source, plan_of(source, LAYERS))
    every = activations(net, source, LAYERS)
    np.testing.assert_allclose(part["relu2/features"], every["relu2"].mean(2), atol=1e-5)
    logits = torch.from_numpy(every["linear2"][:, :, 0])
    labels = torch.arange(12) % 5
    loss = nn.functional.cross_entropy(logits, labels, reduction="none")
    np.testing.assert_allclose(part["images/loss"], loss, atol=1e-5)
    np.testing.assert_array_equal(part["images/predicted"], logits.argmax(1))
    np.testing.assert_allclose(part["images/right_logit"], logits[torch.arange(12), labels], atol=1e-5)


def test_features_of_no_image():
    net, source = network(nets.plain(dtype=torch.float32)), Photos(noise(4))
    (part,) = parts(net, source, plan_of(source, LAYERS, features=0))
    assert part["features/images"].shape == (0,)
    assert part["conv1/features"].shape == (0, 6)


def test_data_without_labels():
    net, source = network(nets.plain(dtype=torch.float32)), Photos(noise(4))
    (part,) = parts(net, source, plan_of(source, LAYERS, classes=(), right=()))
    assert part["images/label"].tolist() == [-1] * 4
    assert np.isnan(part["images/loss"]).all()
    assert (part["images/predicted"] >= 0).all()


def test_steps_are_told_and_may_stop_the_sweep():
    net, source = network(nets.plain(dtype=torch.float32)), Photos(noise(20))
    told = []
    plan = plan_of(source, LAYERS)
    parts(net, source, plan, on_step=lambda *step: told.append(step))
    assert told == [(8, 20), (16, 20), (20, 20)]

    class StopHereError(Exception):
        pass

    def stop(done: int, every: int) -> None:
        raise StopHereError

    with pytest.raises(StopHereError):
        parts(net, source, plan, on_step=stop)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("convscope-batch")]


def test_images_of_a_batch_wait_for_nobody():
    """Batches that take longer than those after them: the bits are those of one thread."""

    class Slow(Photos):
        def read(self, name):
            time.sleep(0.01 if int(name[:6]) % 16 < 8 else 0)
            return super().read(name)

    files = noise(48)
    net = network(nets.plain(dtype=torch.float32))
    plan = plan_of(Photos(files), LAYERS)
    (one,) = parts(net, Photos(files), plan, threads=1)
    (two,) = parts(net, Slow(files), plan, threads=4)
    same_bits(one, two)


class _NotFinite(nn.Module):
    """Two channels of the image; the brighter ones of the second become NaN and infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = _Spoilt()

    def forward(self, x):
        return self.maps(x).nan_to_num(0, 0, 0).mean((2, 3))


class _Spoilt(nn.Module):
    def forward(self, x):
        x = x[:, :2].clone()
        second = x[:, 1]
        second[second > 1.5] = torch.nan
        second[second > 1.2] = torch.inf
        return x


def test_values_that_are_not_finite_never_win_and_are_counted():
    net, source = network(watch(_NotFinite().eval()), classes=()), Photos(noise(30))
    plan = plan_of(source, ["maps"], classes=(), right=(), top=30)
    (part,) = parts(net, source, plan)
    every = activations(net, source, ["maps"])["maps"]
    assert np.isnan(every).any()
    assert np.isinf(every).any()
    finite = np.where(np.isfinite(every), every, -np.inf)
    values = part["maps/exemplars/values"]
    np.testing.assert_allclose(values, -np.sort(-finite.max(2).T, axis=1), atol=1e-5)
    found = UnitStatistics.from_tensors(under(part, "maps/statistics/")).compute()
    np.testing.assert_array_equal(found.nans, np.isnan(every).sum((0, 2)))
    np.testing.assert_array_equal(found.infinities, np.isinf(every).sum((0, 2)))
    bad = ~np.isfinite(every[:, 1]).all(1)
    assert found.nonfinite_images.tolist() == [0, int(bad.sum())]
    assert found.first_nonfinite.tolist() == [-1, int(np.flatnonzero(bad)[0])]


def test_refused_reasons_are_json():
    files = noise(6) | {"000002.png": b"no picture"}
    net, source = network(nets.plain(dtype=torch.float32)), Photos(files)
    (part,) = parts(net, source, plan_of(source, LAYERS))
    assert json.loads(part["images/refused"].tobytes()) == {"2": "000002.png is not a picture"}


def test_a_shard_of_nothing_readable_has_rows_only():
    net, source = network(nets.plain(dtype=torch.float32)), Photos({"a.png": b"no", "b.png": b"nor this"})
    (part,) = parts(net, source, plan_of(source, LAYERS))
    assert {name.split("/")[0] for name in part} == {"images", "features"}
    assert part["images/predicted"].tolist() == [-1, -1]
