"""Filter activation statistics and mean maps: oracle, means over all activations in float64 (``fake_atlas``)."""

from pathlib import Path

import numpy as np
import pytest

from convscope.atlases.class_activations import ClassActivations, _over_all, class_activations
from convscope.atlases.class_patterns import mean_patterns
from convscope.atlases.unit_ranks import by_rank, leading_units, most_telling, ordinal, prominence, rank_tint, ranks_of
from convscope.errors import ConvscopeError
from convscope.render import ranked_bars
from convscope.store.atlas import Atlas
from tests.atlases.fake_atlas import FakeAtlas
from tests.atlases.slow_survey import LAYERS, both


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, FakeAtlas]:
    return both(tmp_path_factory.mktemp("surveyed"))


@pytest.mark.parametrize("layer", LAYERS)
def test_means_a_class_are_those_of_all_activations(surveyed: tuple[Atlas, FakeAtlas], layer: str) -> None:
    atlas, slow = surveyed
    made = class_activations(atlas, layer)
    assert made.classes == made.shown == slow.classes
    np.testing.assert_allclose(made.plain, slow.class_statistics(layer, "mean")[1], rtol=1e-5, atol=1e-6)
    near = {"rtol": 1e-5, "atol": 1e-6}
    np.testing.assert_allclose(made.values, slow.class_statistics(layer, "rectified")[1], **near)
    np.testing.assert_allclose(made.overall, np.maximum(slow.maps[layer], 0).mean((0, 2, 3)), **near)
    assert (made.values >= 0).all()
    for row, name in enumerate(made.classes):
        assert made.order(name) == sorted(range(made.values.shape[1]), key=lambda k: (-made.values[row, k], k))


def test_overall_is_over_the_classes_by_their_positions() -> None:
    """Closed form: 1 at three positions and 5 at one; a class without an image is in nothing."""
    values, counts = np.array([[1.0], [5.0], [np.nan]]), np.array([[3.0], [1.0], [0.0]])
    assert _over_all(values, counts).tolist() == [2.0]
    assert np.isnan(_over_all(values[2:], counts[2:])).all()


def test_a_unit_has_one_colour_in_all_classes_and_units_have_different_ones(
    surveyed: tuple[Atlas, FakeAtlas], monkeypatch: pytest.MonkeyPatch
) -> None:
    panels: list[ranked_bars.Panel] = []

    def caught(given, **options):
        panels.extend(given)
        return drawn(given, **options)

    drawn = ranked_bars.ranked_bars
    monkeypatch.setattr("convscope.atlases.class_activations.ranked_bars", caught)
    made = class_activations(surveyed[0], LAYERS[0], top=2)
    made.picture()
    assert [panel.title for panel in panels] == list(made.classes)
    bars = [bar for panel in panels for bar in panel.bars if bar is not None]
    colours = {bar.name: bar.colour for bar in bars}
    assert all(bar.colour == colours[bar.name] for bar in bars)
    assert len(set(colours.values())) == len(colours)
    for panel, name in zip(panels, made.classes, strict=True):
        assert [bar.name for bar in panel.bars if bar] == [str(k) for k in made.order(name)[:2]]
        values = [bar.value for bar in panel.bars if bar]
        assert values == sorted(values, reverse=True)
        assert [bar.mark for bar in panel.bars if bar] == [made.overall[int(bar.name)] for bar in panel.bars if bar]


def test_the_difference_orders_by_what_is_special_to_a_class(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    made = class_activations(surveyed[0], LAYERS[1], rank="difference")
    wanted = made.values - made.overall
    for row, name in enumerate(made.classes):
        assert made.order(name)[0] == int(wanted[row].argmax())


@pytest.mark.parametrize("layer", LAYERS)
def test_mean_maps_are_those_of_all_activations_and_ranks_those_of_the_means(
    surveyed: tuple[Atlas, FakeAtlas], layer: str
) -> None:
    atlas, slow = surveyed
    made = mean_patterns(atlas, layer, ["King_Penguin", "crane"])
    assert made.classes == ("king penguin", "crane")
    for row, name in enumerate(made.classes):
        wanted = slow.mean_patterns(layer, name)[list(made.numbers)]
        np.testing.assert_allclose(made.maps[row], wanted, rtol=1e-4, atol=1e-5)
        means = atlas.class_statistics(layer, "rectified")[1][slow.classes.index(name)]
        assert made.ranks[row].tolist() == [int((means > means[k]).sum()) + 1 for k in made.numbers]
    assert made.picture().width > 100
    assert mean_patterns(atlas, layer, ["crane"], units=[1, 0]).numbers == (1, 0)


def test_what_is_asked_for_wrongly_is_refused(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    atlas = surveyed[0]
    for message, ask in {
        "no class 'cranes' in the atlas; did you mean 'crane'": lambda: class_activations(atlas, "conv1", ["cranes"]),
        "no rank 'means'; did you mean 'mean'": lambda: class_activations(atlas, "conv1", rank="means"),
        "no layer '9' in small.atlas": lambda: class_activations(atlas, "9"),
        "no unit 99 in conv1": lambda: mean_patterns(atlas, "conv1", units=[99]),
    }.items():
        with pytest.raises(ConvscopeError) as refused:
            ask()
        assert str(refused.value).startswith(message)


# ---- the order of units and classes: closed forms


def test_ranks_break_ties_by_number_and_put_nan_last() -> None:
    values = np.array([1.0, 3.0, np.nan, 3.0, -2.0])
    assert by_rank(values).tolist() == [1, 3, 0, 4, 2]
    assert ranks_of(values).tolist() == [3, 1, 5, 2, 4]


def test_prominent_are_those_that_lead_and_leading_go_round_the_classes() -> None:
    values = np.array([[5.0, 4, 3, 2], [5.0, 4, 3, 2], [0.0, 1, 2, 9]])
    assert prominence(values).tolist()[0] == 0
    assert sorted(prominence(values).tolist()) == [0, 1, 2, 3]
    assert leading_units(values, 3) == [0, 3, 1]
    assert leading_units(values, 9) == [0, 3, 1, 2]


def test_the_most_telling_classes_are_the_far_ones_in_their_order() -> None:
    values = np.ones((6, 3))
    values[4, 0], values[1, 2], values[2, 1] = 9, -7, np.nan
    assert most_telling(values, 2) == [1, 4]
    assert most_telling(values, 6) == list(range(6))


def test_tints_and_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112, 122)] == (
        ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th", "122nd"]
    )
    assert rank_tint(1) == "#440154"  # viridis begins there
    assert rank_tint(9) == rank_tint(300)


def test_many_classes_and_units_are_cut_down_and_it_is_said() -> None:
    names = tuple(f"class {i}" for i in range(300))
    values = np.random.default_rng(0).random((300, 700))
    shown = tuple(names[i] for i in most_telling(values, 20))
    made = ClassActivations("conv", names, values, values.mean(0), values, shown, 12, "mean", _stamp())
    assert made.picture().height < 4000
    assert "20 of 300 classes" in made._subtitle
    assert "12 strongest of 700 units" in made._subtitle


def _stamp():
    from convscope.stamps import Stamp

    return Stamp("a net", "0" * 16, "", "", None, "")


def test_files_and_json(surveyed: tuple[Atlas, FakeAtlas], tmp_path: Path) -> None:
    made = class_activations(surveyed[0], LAYERS[1], ["tabby"], top=2)
    with np.load(made.save(tmp_path / "a.npz")) as saved:
        np.testing.assert_array_equal(saved["rectified"], made.values)
        np.testing.assert_array_equal(saved["means"], made.plain)
    (tabby,) = made.as_json()["classes"]
    assert [unit["unit"] for unit in tabby["units"]] == [f"relu2:{k}" for k in made.order("tabby")[:2]]
    assert "Which units of relu2" in made.to_html()
