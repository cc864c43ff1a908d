"""Dossiers hold what the atlas says; pictures that are added to it are made once, kept, and right."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import convscope as cs
from convscope.atlases import dossier_charts, dossiers
from convscope.atlases.added_pictures import add_deconvs, add_synthetics, lacking, winners_of
from convscope.atlases.contact_sheets import contact_sheet
from convscope.atlases.dossier_charts import charts, lost_points, strongest_classes
from convscope.atlases.dossiers import dossier
from convscope.atlases.unit_patches import UnitPatches, patches_of
from convscope.attribution import deconvnet
from convscope.dataset.deconv_patches import drawn
from convscope.dataset.image_sources import source_of
from convscope.errors import ConvscopeError
from convscope.network.targets import Unit
from convscope.render.chart import value_bars
from convscope.render.typography import text_block
from tests import friendly, nets
from tests.atlases.surveyed import contents, photo_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("data") / "photos", 12)


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written into."""
    out = tmp_path_factory.mktemp("made") / "photos.atlas"
    cs.survey(friendly.network(nets.plain), photos, out, top=4, batch=4).close()
    return out


@pytest.fixture
def atlas(made: Path, tmp_path: Path) -> cs.Atlas:
    """A copy of one's own."""
    shutil.copytree(made, tmp_path / "photos.atlas")
    return cs.open_atlas(tmp_path / "photos.atlas")


@pytest.fixture
def net() -> cs.Network:
    return friendly.network(nets.plain)


# ---- deconvnet pictures ----


def test_deconvnet_pictures_are_made_once_and_kept(atlas: cs.Atlas, net: cs.Network, photos: Path) -> None:
    """Against the deconvnet of one photo at a time, drawn."""
    source, units = source_of(photos), [Unit("conv2", 0), Unit("conv1", 3)]
    wanted = lacking(atlas, units)
    steps: list[tuple[int, int]] = []
    assert add_deconvs(atlas, net, source, units, batch=3, on_step=lambda *step: steps.append(step)) == len(wanted)
    assert steps[-1] == (len(wanted), len(wanted))
    for one in wanted:
        x = net.input_of(source.read(one.image).image)
        values = deconvnet(net.module, x, target=str(Unit(one.layer, one.unit, (one.y, one.x))), layer=one.layer)[0]
        expected = drawn(values[:, one.box.y0 : one.box.y1, one.box.x0 : one.box.x1])
        kept = np.asarray(atlas.picture(f"{one.layer}:{one.unit}", one.rank, "deconv"), int)
        assert np.abs(kept - expected).max() <= 1  # rounding of another batch
    assert lacking(atlas, units) == []
    assert add_deconvs(atlas, net, source, units) == 0
    assert patches_of(atlas, units)[0].has_deconvs
    assert "their deconvnet pictures" in contact_sheet(atlas, "conv2", [0]).subtitle
    assert "deconvnet" not in contact_sheet(atlas, "conv2").subtitle  # no column of which most are empty


def test_what_was_broken_off_goes_on_and_ends_as_without_a_break(
    atlas: cs.Atlas, made: Path, net: cs.Network, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path / "whole.atlas")
    source, units = source_of(photos), [Unit("conv2", number) for number in range(3)]
    whole = cs.open_atlas(tmp_path / "whole.atlas")
    count = add_deconvs(whole, net, source, units, batch=2)

    def stop(done: int, _every: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_deconvs(atlas, net, source, units, batch=2, on_step=stop)
    assert len(lacking(atlas, units)) == count - 4
    assert add_deconvs(atlas, net, source, units, batch=2) == count - 4
    assert contents(atlas.path)["pictures"] == contents(whole.path)["pictures"]


def test_winners_are_the_atlass_exemplars_and_boxes(atlas: cs.Atlas) -> None:
    found = winners_of(atlas, Unit("conv2", 1))
    assert [(one.value, one.image, one.y, one.x) for one in found] == atlas.exemplars("conv2:1")
    assert [tuple(one.box) for one in found] == atlas.boxes("conv2:1")
    assert len(lacking(atlas, [Unit("conv2", 1)], 2)) == sum(one.value > 0 for one in found[:2])


def test_a_picture_by_optimisation_is_made_once_and_stands_in_the_dossier(atlas: cs.Atlas, net: cs.Network) -> None:
    units = [Unit("conv2", 1), Unit("conv2", 2)]
    assert add_synthetics(atlas, net, units, steps=2, size=16) == 2
    assert add_synthetics(atlas, net, units, steps=2, size=16) == 0
    kept = atlas.picture("conv2:1", 0, "synthetic")
    expected = cs.visualize(net, ["conv2:1", "conv2:2"], steps=2, size=16).pictures[0].shown
    assert np.abs(np.asarray(kept, int) - (255 * expected).round().permute(1, 2, 0).numpy()).max() == 0
    assert dossier(atlas, "conv2:1").synthetic is not None


# ---- dossiers ----


def test_a_dossier_holds_what_the_atlas_says(atlas: cs.Atlas) -> None:
    made = dossier(atlas, "conv2:1", top=3)
    said = atlas.statistics("conv2:1")
    assert list(made.patches.exemplars) == atlas.exemplars("conv2:1")[:3]
    near = [(name, r) for name, r in atlas.neighbours("conv2:1", 8) if r > 0]
    assert len(near) < 7  # of eight units others run against it
    assert [(str(one.unit), r) for one, r in made.neighbours] == near
    assert made.labels == tuple(image.split("/")[0] for _, image, *_ in made.patches.exemplars)
    found = made.as_json()
    assert found["statistics"]["mean"] == said["mean"]
    means = {name: of["rectified"] for name, of in said["by_class"].items()}
    assert [one["class"] for one in found["classes"]] == sorted(means, key=lambda name: -means[name])
    assert {one["class"]: one["mean"] for one in found["classes"]} == {
        n: of["mean"] for n, of in said["by_class"].items()
    }
    arrays = made.arrays()
    assert np.array_equal(arrays["histogram_counts"], said["histogram"][1])
    assert made.picture().width > 500
    assert f"selectivity {said['selectivity']:.2f}" in made.subtitle
    with pytest.raises(ConvscopeError, match=r"no unit 'conv2:99'"):
        dossier(atlas, "conv2:99")


def test_neighbours_are_said_to_be_over_the_images_whose_features_were_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = cs.survey(friendly.network(nets.plain), photos, tmp_path / "a.atlas", ["conv2"], features=6, pictures=False)
    one, texts = dossier(atlas, "conv2:1"), list[str]()
    assert one.neighbours

    def noted(text, *args, **options):
        texts.append(text)
        return text_block(text, *args, **options)

    monkeypatch.setattr(dossiers, "text_block", noted)
    one.picture()
    said = "r: correlation of the pooled activations over 6 images"
    assert said in texts
    assert said in one.facts()["units that go with it"]
    assert one.as_json()["images_compared"] == len(atlas.features("conv2")[0]) == 6


def test_heading_bars_and_class_agree(atlas: cs.Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a convolution before its ReLU the class of the largest plain mean is another one: the bars do not go by it."""
    drawn: list[list[tuple[str, float]]] = []

    def caught(values, *args, **options):
        drawn.append(list(values))
        return value_bars(values, *args, **options)

    monkeypatch.setattr(dossier_charts, "value_bars", caught)
    said = atlas.statistics("conv2:1")
    rectified, means = (0.2, 0.9, 0.0), (-1.0, -3.0, -0.5)
    names = ("grey fox", "tench", "lion")
    by_class = {n: {"rectified": r, "mean": m} for n, r, m in zip(names, rectified, means, strict=True)}
    said |= {"by_class": by_class, "class": "tench", "minimum": -4.0}
    charts(said, {}, None)
    assert drawn == [[("tench", 0.9), ("grey fox", 0.2), ("lion", 0.0)]]
    charts({**said, "by_class": {n: {"rectified": 0.0, "mean": -1.0} for n in names}, "class": None}, {}, None)
    assert len(drawn) == 1  # it says nothing for any
    for unit in atlas.units("conv2"):
        kept = atlas.statistics(unit)
        order = strongest_classes({n: of["rectified"] for n, of in kept["by_class"].items()}, kept["class"])
        assert kept["class"] in (order[0], None)


def test_what_is_lost_without_a_unit_is_drawn_where_it_was_measured(atlas: cs.Atlas) -> None:
    said = atlas.statistics("conv2:1")
    bare = charts(said, {}, None)
    whole = {"images": 8, "correct_before": 6, "correct_after": 4, "logit_drop": 0.1, "probability_drop": 0.1}
    measured = charts(said, {"": whole, "tabby": whole | {"images": 2, "correct_before": 2, "correct_after": 1}}, None)
    assert lost_points(whole) == 25.0
    assert bare is not None
    assert measured is not None
    assert measured.width > bare.width
    assert np.array_equal(np.asarray(measured)[: bare.height, : bare.width], np.asarray(bare))


def test_a_unit_without_a_finite_value_has_a_sheet_that_says_so(atlas: cs.Atlas) -> None:
    made, nan = dossier(atlas, "conv2:1"), float("nan")
    said = dict.fromkeys(("mean", "variance", "share_positive", "maximum", "minimum", "selectivity"), nan)
    edges, counts = made.statistics["histogram"]
    empty = UnitPatches(Unit("conv2", 1), (), (), (), ())
    bare = replace(made, patches=empty, labels=(), statistics={**said, "histogram": (edges, 0 * counts)})
    assert bare.figures == {"values": "no finite value"}
    assert bare.as_json()["statistics"]["mean"] is None
    assert bare.picture().height > 100
    assert bare.arrays()["images"].shape == (1, 0)
