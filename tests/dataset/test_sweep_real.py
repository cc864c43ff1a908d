"""Real networks on real photos: the exemplars of CIFAR-10's 1,000 images are those of a full sort."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convscope.dataset.exemplars import Exemplars
from convscope.dataset.image_sources import source_of
from convscope.dataset.plan import Shard
from convscope.dataset.sweep import sweep
from convscope.network.loading import Network
from convscope.network.passes import outputs_of
from convscope.network.preprocessing import Preprocess
from tests.dataset.small_survey import Photos, plan_of, shards_of

CIFAR = Preprocess(None, None, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
LAYERS = ("conv1", "layer2.0.conv2", "layer3.2.conv2")


@pytest.fixture
def cifar(shared: Path) -> Photos:
    folder = shared / "data" / "cifar10_test"
    return Photos({name: (folder / name).read_bytes() for name in source_of(folder).names()})


@pytest.mark.parametrize(("batch", "shards"), [(1, 7), (64, 1)])
def test_exemplars_of_1000_images_equal_a_full_sort(resnet20: nn.Module, cifar: Photos, batch, shards):
    net = Network(resnet20, CIFAR, (), "resnet20")
    plan = plan_of(cifar, LAYERS, batch=batch, shard_size=-(-1000 // shards), classes=(), right=())
    merged = {layer: Exemplars(plan.top) for layer in LAYERS}
    for shard in shards_of(cifar, plan):
        part = sweep(net, cifar, plan, shard, threads=2)
        for layer, found in merged.items():
            tensors = {name: part[f"{layer}/exemplars/{name}"] for name in ("values", "images", "y", "x")}
            found.merge(Exemplars.from_tensors(tensors))
    assert len(cifar.files) == 1000
    for layer, maps in _maps(net, cifar).items():
        values, images, y, x = merged[layer].compute()
        strongest = maps.amax((2, 3)).numpy()
        np.testing.assert_allclose(values, -np.sort(-strongest, axis=0)[: plan.top].T, atol=1e-5)
        units = np.arange(len(values))[:, None]
        np.testing.assert_allclose(maps.numpy()[images, units, y, x], values, atol=1e-5)
        assert all(len(set(row)) == plan.top for row in images.tolist())


def _maps(net: Network, source: Photos) -> dict[str, torch.Tensor]:
    found: dict[str, list[torch.Tensor]] = {layer: [] for layer in LAYERS}
    names = list(source.names())
    for start in range(0, len(names), 100):
        x = torch.cat([net.input_of(source.read(name).image) for name in names[start : start + 100]])
        for layer, output in outputs_of(net.module, x, *LAYERS).items():
            found[layer].append(output)
    return {layer: torch.cat(parts) for layer, parts in found.items()}


def test_squeezenet_answers_as_in_plain_passes_with_a_corrupt_photo_among_the_rest(shared: Path, squeezenet: nn.Module):
    folder = shared / "data" / "imagenet_photos"
    names = list(source_of(folder).names())[:6]
    net = Network(squeezenet, Preprocess(256, 224), (), "squeezenet")
    files = {name: (folder / name).read_bytes() for name in names}
    corrupt = Photos(files | {names[2]: files[names[2]][:100]})
    plan = plan_of(corrupt, ("features.0", "features.12.expand3x3"), batch=4, classes=(), right=())
    (shard,) = shards_of(corrupt, plan)
    found = sweep(net, corrupt, plan, shard)
    left = Shard(0, tuple(image for image in shard.images if image.number != 2))
    without = sweep(net, corrupt, plan, left)
    assert found["images/predicted"][2] == -1
    for name in ("features.0/exemplars/values", "features.12.expand3x3/features"):
        np.testing.assert_allclose(found[name], without[name], atol=1e-4)
    np.testing.assert_array_equal(found["features.0/exemplars/images"], without["features.0/exemplars/images"])
    with torch.no_grad():
        logits = torch.cat([squeezenet(net.input_of(corrupt.read(image.name).image)) for image in left.images])
    np.testing.assert_array_equal(without["images/predicted"], logits.argmax(1))
