"""Reconstructions of many images in a batch against the deconvnet of one at a time, and nothing beside the box."""

import copy
import io
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.attribution import deconvnet
from convscope.dataset.deconv_patches import DECONV, PERCENTILE, deconv_winners, drawn, projections
from convscope.dataset.patches import Winner
from convscope.errors import ConvscopeError
from convscope.network.passes import outputs_of
from convscope.network.receptive_fields import Box
from convscope.network.targets import Unit
from tests import nets
from tests.dataset.kept_pictures import KeptPictures, winners_of
from tests.dataset.small_survey import Photos, network, noise
from tests.nets import token_nets

NETS = (nets.plain, nets.overlapping_pool, nets.functional_relu, nets.inplace_relu, nets.strided)


@pytest.mark.parametrize("factory", NETS)
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_a_batch_over_several_images_equals_one_deconvnet_each(factory: Any, layer: str) -> None:
    net, source = network(factory()), Photos(noise(4))
    winners = winners_of(net, source, layer, top=2)
    inputs = [net.input_of(source.read(one.image).image) for one in winners]
    together = projections(net, torch.cat(inputs), winners)
    for one, x, values in zip(winners, inputs, together, strict=True):
        alone = deconvnet(net.module, x, target=str(Unit(layer, one.unit, (one.y, one.x))), layer=layer)[0]
        y0, x0, y1, x1 = one.box
        assert torch.allclose(values.double(), alone[:, y0:y1, x0:x1], rtol=0, atol=1e-6)
        beside = alone.clone()
        beside[:, y0:y1, x0:x1] = 0
        assert not beside.any()  # the signal cannot leave the field: nothing of it is cut off


def _noted(done: list[tuple[int, int]], *step: int) -> None:
    done.append((step[0], step[1]))


def test_pictures_do_not_depend_on_the_batch_and_come_in_parts() -> None:
    net, source = network(nets.plain()), Photos(noise(5))
    winners = [w for layer in ("conv2", "conv1") for w in winners_of(net, source, layer, top=2)]
    found: list[dict[Any, str]] = []
    for batch in (1, 4, 100):
        done: list[tuple[int, int]] = []
        keep = KeptPictures().keep
        step = partial(_noted, done)
        parts = list(deconv_winners(net, source, winners, keep, batch=batch, on_step=step))
        assert done[-1] == (len(winners), len(winners))
        assert all(len(part) <= batch and len({row.layer for row in part}) <= 1 for part in parts)
        rows = [row for part in parts for row in part]
        assert {row.kind for row in rows} == {DECONV}
        found.append({(row.layer, row.unit, row.rank): row.file for row in rows})
    assert found[0] == found[1] == found[2]


def test_a_winner_that_is_not_above_0_has_no_picture() -> None:
    """It starts with relu(A) = 0."""
    net, source = network(nets.plain()), Photos(noise(3))
    (first, *others) = winners_of(net, source, "conv1", top=1)
    x = net.input_of(source.read(first.image).image)
    values = outputs_of(net.module, x, "conv1")["conv1"][0, first.unit]
    y, x_ = divmod(int(values.argmin()), values.shape[1])
    assert values.min() < 0
    negative = replace(first, value=float(values.min()), y=y, x=x_, box=Box(0, 0, nets.SIDE, nets.SIDE))
    rows = [row for part in deconv_winners(net, source, [negative, *others], KeptPictures().keep) for row in part]
    assert sorted(row.unit for row in rows) == [one.unit for one in others]


def test_a_projection_that_is_zero_everywhere_is_grey() -> None:
    """All filters of the unit are below 0: on the way down its signal ends at the rectifiers of conv1."""
    module = copy.deepcopy(nets.plain())
    with torch.no_grad():
        module.conv2.weight[0] = -module.conv2.weight[0].abs()
        module.conv2.bias[0] = 1000
    net, source, pictures = network(module), Photos(noise(3)), KeptPictures()
    (one, *_) = winners_of(net, source, "conv2", top=1)
    ((row,),) = deconv_winners(net, source, [one], pictures.keep)
    with Image.open(io.BytesIO(pictures.files[row.file])) as picture:
        assert set(np.asarray(picture.convert("RGB")).ravel().tolist()) == {128}  # rint(255 / 2)
        assert (picture.height, picture.width) == row.size


@pytest.mark.parametrize("partial", [False, True])
def test_a_layer_that_cannot_have_them_is_refused_before_the_first_picture(partial: bool) -> None:
    net, source, pictures = network(nets.hardswish_mix()), Photos(noise(3)), KeptPictures()
    winners = [w for layer in ("0", "3") for w in winners_of(net, source, layer, top=1)]
    made = deconv_winners(net, source, winners, pictures.keep, partial=partial)
    if partial:
        assert sum(len(rows) for rows in made) == sum(one.value > 0 for one in winners)
        return
    with pytest.raises(ConvscopeError, match=r"no deconvnet pictures of '3': .*Hardswish.*--partial"):
        next(made)
    assert not pictures.files


def test_a_unit_of_a_fully_connected_layer_has_no_position() -> None:
    net, source = network(nets.mlp()), Photos(noise(3))
    layer = next(name for name, module in net.module.named_children() if isinstance(module, torch.nn.Linear))
    (one, *_) = [w for w in winners_of(net, source, layer, top=1) if w.value > 0]
    x = net.input_of(source.read(one.image).image)
    (values,) = projections(net, x, [one])
    assert torch.allclose(values.double(), deconvnet(net.module, x, target=one.unit, layer=layer)[0], atol=1e-6)


@pytest.mark.parametrize("change", ["photo", "value", "network"])
def test_another_photo_or_network_than_the_survey_saw_is_refused(change: str) -> None:
    net, source = network(nets.plain()), Photos(noise(3))
    winners = winners_of(net, source, "conv1", top=1)
    if change == "photo":
        source = Photos(noise(3, seed=7))
    elif change == "network":
        net = network(nets.plain(seed=3))
    else:
        winners = [replace(one, value=1.1 * one.value) for one in winners]
    with pytest.raises(ConvscopeError, match=r"conv1:\d+ gives .* in the survey: the photo, the network or its pre"):
        list(deconv_winners(net, source, winners, KeptPictures().keep))


def test_a_layer_of_tokens_is_refused() -> None:
    net, source = network(token_nets.class_token()), Photos(noise(1))
    one = Winner("blocks", 0, 0, "000000.png", Box(0, 0, 4, 4), 1.0, 0, 0)
    with pytest.raises(ConvscopeError, match="keeps its positions as tokens"):
        list(deconv_winners(net, source, [one], KeptPictures().keep))


def test_a_batch_of_none_is_refused() -> None:
    net, source = network(nets.plain()), Photos(noise(2))
    with pytest.raises(ConvscopeError, match="batch=0: at least one winner"):
        list(deconv_winners(net, source, winners_of(net, source, "conv1", top=1), KeptPictures().keep, batch=0))


def test_a_picture_is_grey_where_the_projection_is_0_and_clips_at_its_percentile() -> None:
    """Closed form: round(255 (1/2 + R / 2m)), m the percentile of abs(R)."""
    values = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(0))
    values[:, :10] = 0
    m = np.percentile(np.abs(values.numpy()), PERCENTILE)
    expected = np.rint(255 * np.clip(0.5 + values.numpy() / (2 * m), 0, 1)).transpose(1, 2, 0)
    assert np.array_equal(drawn(values), expected)
    five = torch.randn(5, 6, 6, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(drawn(five), drawn(five.sum(0, keepdim=True)))
