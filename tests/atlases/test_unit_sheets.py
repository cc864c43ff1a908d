"""Statistics of layers and units, and neighbours: oracle, all activations in float64 (``fake_atlas``)."""

from pathlib import Path

import numpy as np
import pytest

from convscope.atlases.neighbours import neighbours
from convscope.atlases.one_unit_statistics import unit_statistics
from convscope.atlases.statistics_sheets import layer_statistics, network_statistics
from convscope.errors import ConvscopeError
from convscope.store.atlas import Atlas
from tests.atlases.fake_atlas import FakeAtlas
from tests.atlases.slow_survey import LAYERS, both
from tests.store.small_atlas import small_atlas


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, FakeAtlas]:
    return both(tmp_path_factory.mktemp("surveyed"), count=40)


@pytest.mark.parametrize("layer", LAYERS)
def test_numbers_of_a_layer(surveyed: tuple[Atlas, FakeAtlas], layer: str) -> None:
    atlas, slow = surveyed
    made, wanted = layer_statistics(atlas, layer), slow.layer_statistics(layer)
    for name in ("mean", "share_positive", "maximum", "minimum"):
        np.testing.assert_allclose(made.numbers[name], wanted[name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.numbers["deviation"], np.sqrt(wanted["variance"]), rtol=1e-5)
    # the survey takes 32 of a map's 36 or 144 positions for these: near, not equal
    np.testing.assert_allclose(made.numbers["selectivity"], wanted["selectivity"], atol=0.1)
    assert np.mean([a == b for a, b in zip(made.classes, wanted["class"], strict=True)]) >= 0.5
    assert [f"{layer}:{k}" for k in made.dead] == [u for u in slow.dead() if u.startswith(f"{layer}:")]
    assert made.picture().width > 500
    rows = made.as_json()["units"]
    assert [row["unit"] for row in rows] == atlas.units(layer)
    assert [row["dead"] for row in rows] == [k in made.dead for k in range(made.units)]


def test_a_network_has_its_layers_in_order(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    made = network_statistics(surveyed[0])
    assert [layer.layer for layer in made.layers] == list(LAYERS)
    assert made.picture().width > 500
    shares = [row["median_share_positive"] for row in made.as_json()]
    wanted = [np.median((m > 0).mean((0, 2, 3))) for m in surveyed[1].maps.values()]
    np.testing.assert_allclose(shares, wanted, rtol=1e-5)


def test_numbers_of_a_unit(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    atlas, slow = surveyed
    made, wanted = unit_statistics(atlas, "relu2:3"), slow.statistics("relu2:3")
    for name in ("mean", "share_positive", "maximum", "minimum"):
        assert made.numbers[name] == pytest.approx(wanted[name], rel=1e-5)
    assert list(made.class_means) == list(slow.classes)
    for name, value in made.class_means.items():
        assert value == pytest.approx(wanted["by_class"][name]["mean"], rel=1e-5)
    for name, value in made.rectified.items():
        assert value == pytest.approx(wanted["by_class"][name]["rectified"], rel=1e-5)
    assert made.ranked == sorted(made.rectified, key=lambda name: -made.rectified[name])
    assert made.selective_class == made.ranked[0] == next(iter(made.as_json()["rectified_by_class"]))
    for q, value in made.quantiles.items():  # within a bin of the histogram, a fifth of the value
        assert value == pytest.approx(np.quantile(slow.maps["relu2"][:, 3], q), rel=0.25, abs=0.02)
    assert 0 < made.counts.sum() <= slow.maps["relu2"][:, 3].size
    assert made.picture().width > 500


def test_neighbours_are_by_the_correlation_of_the_pooled_maps(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    atlas, slow = surveyed
    made = neighbours(atlas, ["relu2:1", "relu2:4"], top=3)
    for unit, near in made.near.items():
        wanted = [(name, r) for name, r in slow.neighbours(unit, 3) if r > 0]
        assert [name for name, _ in near] == [name for name, _ in wanted]
        np.testing.assert_allclose([r for _, r in near], [r for _, r in wanted], rtol=1e-4)
    assert made.picture().width > 300
    of_layer = neighbours(atlas, ["relu2"], most=2)
    pairs = {frozenset((unit, name)): r for unit in atlas.units("relu2") for name, r in slow.neighbours(unit, 9)}
    best = max((pair for pair in pairs), key=lambda pair: pairs[pair])
    first = next(iter(of_layer.near))
    assert {first, of_layer.near[first][0][0]} == best
    assert of_layer.left_out == 8 - 2
    assert made.images == of_layer.images == 40
    assert "over 40 images" in made._subtitle
    assert "over 40 images" in made.facts()["r"]


@pytest.mark.parametrize("layer", LAYERS)
def test_of_a_layer_each_pair_stands_once_and_none_runs_against_the_other(
    surveyed: tuple[Atlas, FakeAtlas], layer: str
) -> None:
    atlas = surveyed[0]
    made = neighbours(atlas, [layer], top=10, most=8)
    said = [(frozenset((unit, name)), r) for unit, near in made.near.items() for name, r in near]
    assert len({pair for pair, _ in said}) == len(said)
    assert all(r > 0 for _, r in said)
    assert all(near for near in made.near.values())
    kept = {frozenset((u, v)): r for u in atlas.units(layer) for v, r in atlas.neighbours(u, 1) if r > 0}
    assert kept.keys() <= {pair for pair, _ in said}  # every unit's nearest is there
    assert made.picture().width > 300


def test_units_are_named_as_convscope_unit_takes_them(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    assert list(neighbours(surveyed[0], ["relu2:1,4", "relu2:4-5"]).near) == ["relu2:1", "relu2:4", "relu2:5"]
    with pytest.raises(ConvscopeError, match=r"an atlas knows whole units; name relu2:1"):
        neighbours(surveyed[0], ["relu2:1@0,0"])


def test_of_few_images_it_is_said_that_duplicates_were_not_looked_for(
    surveyed: tuple[Atlas, FakeAtlas], monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 images; 3 exemplars a unit ask for 12, and 11 for 44."""
    enough = layer_statistics(surveyed[0], "relu2")
    assert "not looked for" not in enough.line
    assert isinstance(enough.as_json()["duplicates"], list)
    monkeypatch.setitem(surveyed[0].about, "top", 11)
    made = layer_statistics(surveyed[0], "relu2")
    assert "duplicates not looked for, with fewer than 44 images" in made.line
    assert made.as_json()["duplicates"] is None
    whole = network_statistics(surveyed[0])
    assert "duplicates not looked for" in whole.line
    assert [row["duplicates"] for row in whole.as_json()] == [None, None]


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    """Oracle: the rows of an atlas that was written by hand."""
    atlas = Atlas(small_atlas(tmp_path / "small.atlas"))
    second = layer_statistics(atlas, "conv2")
    assert second.alike == ((0, 2, 2),)
    assert second.nonfinite == ((2, 5, 2),)
    assert "1 pair of units sharing most patches · NaN or infinite values in 2" in second.line
    assert "1 dead (1)" in layer_statistics(atlas, "conv1").line
    made = neighbours(atlas, ["conv2:0"])
    assert made.as_json()[0]["neighbours"] == [
        {"unit": "conv2:2", "correlation": 0.9, "class": "crane", "shared_patches": 2}
    ]  # conv2:1 runs against it
    assert unit_statistics(atlas, "conv2:2").odd == (5, 2)
    assert network_statistics(atlas).line.endswith(
        "1 dead, 1 pair of units sharing most patches, 1 with NaN or infinite values."
    )


def test_a_unit_without_a_finite_value_is_drawn_and_says_so(
    surveyed: tuple[Atlas, FakeAtlas], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = surveyed[0].statistics("relu2:1")
    nothing = dict.fromkeys(("mean", "variance", "share_positive", "maximum", "minimum", "selectivity"), float("nan"))
    edges, counts = kept["histogram"]
    nothing |= {"histogram": (edges, 0 * counts), "quantiles": {0.5: float("nan")}, "by_class": {}, "class": None}
    monkeypatch.setattr(Atlas, "statistics", lambda *_: {**kept, **nothing})
    made = unit_statistics(surveyed[0], "relu2:1")
    assert made.line.startswith("no finite value")
    assert made.picture().width > 10
    assert "quantiles" not in made.facts()


def test_of_one_image_there_are_no_neighbours(
    surveyed: tuple[Atlas, FakeAtlas], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Atlas, "neighbours", lambda *_: [])
    for name in ("relu2", "relu2:1"):
        with pytest.raises(ConvscopeError, match=f"nothing goes with {name} in small.atlas"):
            neighbours(surveyed[0], [name])


def test_refusals(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    atlas = surveyed[0]
    for message, ask in {
        "'relu2' names no unit": lambda: unit_statistics(atlas, "relu2"),
        "'relu2:1@2,3' names no unit": lambda: unit_statistics(atlas, "relu2:1@2,3"),
        "no unit 'relu2:99': relu2 has 8 units": lambda: unit_statistics(atlas, "relu2:99"),
        "no layer 'relu3' in small.atlas; did you mean 'relu2'": lambda: layer_statistics(atlas, "relu3"),
        "whose neighbours?": lambda: neighbours(atlas, []),
        "no layer 'rel' in small.atlas": lambda: neighbours(atlas, ["rel"]),
    }.items():
        with pytest.raises(ConvscopeError) as refused:
            ask()
        assert str(refused.value).startswith(message)
