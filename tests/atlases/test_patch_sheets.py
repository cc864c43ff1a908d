"""Contact sheets and hierarchies hold what the atlas says, and draw it where it was."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases.contact_sheets import contact_sheet
from convscope.atlases.patch_hierarchies import at_even_steps, patch_hierarchy, units_at_even_steps
from convscope.atlases.unit_patches import contexts_say_more, longest_side, patches_of
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit
from tests import friendly, nets
from tests.atlases.surveyed import photo_folder


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> cs.Atlas:
    """Never written into."""
    photos = photo_folder(tmp_path_factory.mktemp("data") / "photos", 12)
    return cs.survey(friendly.network(nets.plain), photos, tmp_path_factory.mktemp("made") / "photos.atlas", top=4)


@pytest.fixture
def net() -> cs.Network:
    return friendly.network(nets.plain)


def test_patches_are_the_atlass_pictures_with_their_fields_marked(atlas: cs.Atlas) -> None:
    (one,) = patches_of(atlas, [Unit("conv1", 2)])
    assert list(one.exemplars) == atlas.exemplars("conv1:2")
    for rank, (crop, context, deconv) in enumerate(zip(one.crops, one.contexts, one.deconvs, strict=True)):
        assert deconv.image is None
        y0, x0, y1, x1 = context.box
        assert np.array_equal(np.asarray(context.image)[y0:y1, x0:x1], np.asarray(crop.image))
        assert atlas.boxes("conv1:2")[rank] == (y0, x0, y1, x1)  # the context is all of so small an image
    (two,) = patches_of(atlas, [Unit("conv1", 2)], 2)
    assert two.exemplars == one.exemplars[:2]
    assert len(two.crops) == 2
    assert longest_side(one.crops) == max(max(patch.image.size) for patch in one.crops)
    assert contexts_say_more([one])


# ---- contact sheets ----


def test_a_contact_sheet_has_every_unit_and_a_first_layer_its_filters(atlas: cs.Atlas, net: cs.Network) -> None:
    sheet = contact_sheet(atlas, "conv1", net=net)
    count = net.module.conv1.out_channels
    assert [one.unit for one in sheet.units] == [Unit("conv1", number) for number in range(count)]
    assert sheet.title == f"What {count} units of conv1 look for"
    assert "From left to right the filter on its own scale, the 4 strongest crops" in sheet.subtitle
    assert "over 12 photos in photos" in sheet.subtitle
    weights = net.module.conv1.weight.detach().numpy()
    for one, filter_ in zip(weights, sheet.filters, strict=True):
        expected = np.rint(255 * (one - one.min()) / (one.max() - one.min())).transpose(1, 2, 0)
        assert np.array_equal(np.asarray(filter_), expected)


def test_its_arrays_are_the_atlass_exemplars(atlas: cs.Atlas) -> None:
    sheet = contact_sheet(atlas, "conv1")
    arrays = sheet.arrays()
    for row, name in enumerate(arrays["units"]):
        for rank, (value, image, y, x) in enumerate(atlas.exemplars(name)):
            assert arrays["values"][row, rank] == np.float32(value)
            assert arrays["images"][row, rank] == image
            assert arrays["positions"][row, rank].tolist() == [y, x]
    assert sheet.as_json()["units"][1]["exemplars"][0]["image"] == atlas.exemplars("conv1:1")[0][1]


def test_a_deeper_layer_and_a_sheet_without_the_network_have_no_filters(atlas: cs.Atlas, net: cs.Network) -> None:
    assert contact_sheet(atlas, "conv2", net=net).filters == ()
    assert contact_sheet(atlas, "conv1").filters == ()


def test_a_layer_without_weights_has_no_filters(atlas: cs.Atlas, net: cs.Network, tmp_path: Path) -> None:
    """Such as a ReLU: its sheet is drawn all the same."""
    relu = next(name for name, module in net.module.named_modules() if isinstance(module, torch.nn.ReLU))
    made = cs.survey(net, photo_folder(tmp_path / "photos", 4), tmp_path / "relu.atlas", [relu], top=2)
    assert contact_sheet(made, relu, net=net).filters == ()


def test_named_units_come_in_their_order_and_what_is_not_drawn_is_said(atlas: cs.Atlas) -> None:
    sheet = contact_sheet(atlas, "conv2", [3, 1, 3])
    assert [one.unit.unit for one in sheet.units] == [3, 1]
    count = atlas.layer("conv2").units
    assert sheet.title == f"What 2 of {count} units of conv2 look for"
    assert sheet.subtitle.endswith(f"{count - 2} more units (--units)")
    assert len(contact_sheet(atlas, "conv2", most=3).units) == 3
    with pytest.raises(ConvscopeError, match=f"unit {count} was asked for, but layer 'conv2' has {count} units"):
        contact_sheet(atlas, "conv2", [count])
    with pytest.raises(ConvscopeError, match=r"no layer 'conv3' in photos\.atlas; did you mean"):
        contact_sheet(atlas, "conv3")


def test_the_first_crop_is_drawn_where_the_sheet_says(atlas: cs.Atlas) -> None:
    """The best crop of a sheet of one unit, enlarged as the block does, is found in the picture, pixel by pixel."""
    from convscope.atlases.contact_sheets import _BLOCK

    unclipped = next(k for k in range(6) if atlas.picture(f"conv1:{k}").size == (3, 3))
    sheet = contact_sheet(atlas, "conv1", [unclipped])
    crop, side = sheet.units[0].crops[0].image, longest_side(sheet.units[0].crops)
    cell = (2 * _BLOCK - 2) // 2
    assert side == 3
    expected = np.asarray(crop.resize((cell, cell), Image.Resampling.NEAREST))
    page = np.asarray(sheet.picture())
    rows = [y for y in range(page.shape[0] - cell) if np.array_equal(page[y, 56 : 56 + cell], expected[0])]
    assert any(np.array_equal(page[y : y + cell, 56 : 56 + cell], expected) for y in rows)


# ---- hierarchies ----


def test_units_are_taken_at_even_steps_and_rows_stand_in_the_networks_order(atlas: cs.Atlas) -> None:
    sheet = patch_hierarchy(atlas)
    assert sheet.layers == [layer.name for layer in atlas.layers]
    assert "not picked by eye" in sheet.subtitle
    chosen = patch_hierarchy(atlas, [Unit("conv2", 3), Unit("conv1", 0), Unit("conv2", 1)])
    assert chosen.layers == ["conv1", "conv2"]
    assert [str(one.unit) for one in chosen.units] == ["conv1:0", "conv2:3", "conv2:1"]
    assert "not picked by eye" not in chosen.subtitle
    assert chosen.picture().width > 500
    dead = set(atlas.dead())
    assert not dead & {str(unit) for unit in units_at_even_steps(atlas)}
    with pytest.raises(ConvscopeError, match="no unit was asked for"):
        patch_hierarchy(atlas, [])


def test_even_steps_begin_with_the_first_and_end_with_the_last() -> None:
    assert at_even_steps(list(range(96)), 4) == [0, 32, 63, 95]
    assert at_even_steps(list(range(26)), 5) == [0, 6, 12, 19, 25]
    assert at_even_steps([1, 2], 5) == [1, 2]


def test_a_survey_without_pictures_has_sheets_that_say_so(tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", 6)
    bare = cs.survey(friendly.network(nets.plain), photos, tmp_path / "bare.atlas", pictures=False)
    sheet = contact_sheet(bare, "conv1")
    assert all(patch.image is None for one in sheet.units for patch in one.crops)
    assert sheet.picture().height > 100
    bare.close()
    shutil.rmtree(bare.path)
