"""Maps laid onto maps. Oracles: a motion made by hand, a scan of all angles, clusters known beforehand."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from convscope.dataset.embedding import embed
from convscope.errors import ConvscopeError
from convscope.training.aligned_embedding import aligned, embed_after


def a_map(count: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2)) * (3.0, 0.7)


def turned(points: np.ndarray, angle: float, mirror: bool = False) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return points * (1, -1 if mirror else 1) @ np.array([[cosine, sine], [-sine, cosine]])


def apart(points: np.ndarray, onto: np.ndarray) -> float:
    return float(((points - onto) ** 2).sum())


@given(st.floats(-7, 7), st.booleans(), st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
def test_a_turned_mirrored_and_shifted_copy_comes_back(angle: float, mirror: bool, shift) -> None:
    points = a_map()
    np.testing.assert_allclose(aligned(turned(points, angle, mirror) + shift, points), points, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_no_angle_brings_the_points_nearer(seed: int) -> None:
    """Oracle: all angles by half a degree, with and without a mirror, middle onto middle."""
    points, onto = a_map(9, seed), np.add(a_map(9, seed + 100), (4, -2))
    centred = points - points.mean(0)
    scanned = min(
        apart(turned(centred, angle, mirror) + onto.mean(0), onto)
        for angle in np.radians(np.arange(0, 360, 0.5))
        for mirror in (False, True)
    )
    assert scanned * (1 - 1e-4) < apart(aligned(points, onto), onto) <= scanned


@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_farther_than_without_and_nothing_is_scaled(seed: int) -> None:
    onto = a_map(20, seed)
    points = 3 * onto + np.random.default_rng(seed).normal(size=onto.shape)
    laid = aligned(points, onto)
    assert apart(laid, onto) <= apart(points, onto)
    distances = [np.linalg.norm(each[:, None] - each[None], axis=-1) for each in (points, laid)]
    np.testing.assert_allclose(*distances, atol=1e-12)


def test_points_that_lie_where_they_should_stay() -> None:
    np.testing.assert_allclose(aligned(a_map(), a_map()), a_map(), atol=1e-14)


@pytest.mark.parametrize("points", [np.zeros((4, 2)), np.ones((1, 2)), np.arange(8.0).repeat(2).reshape(8, 2)])
def test_points_that_fix_no_angle_come_back_too(points: np.ndarray) -> None:
    """All in one place, one alone, all on one line: their own copy is what they are laid onto."""
    np.testing.assert_allclose(aligned(turned(points, 1.0, mirror=True) + 5, points), points, atol=1e-12)


def test_float32_is_laid_in_float64() -> None:
    assert aligned(a_map().astype(np.float32), a_map().astype(np.float32)).dtype == np.float64


def test_maps_of_other_images_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="12 points cannot be laid onto 9: both maps hold the same images"):
        aligned(a_map(), a_map(9))
    with pytest.raises(ConvscopeError, match="0 points cannot be laid onto 0"):
        aligned(a_map(0), a_map(0))
    with pytest.raises(ConvscopeError, match="NaN or infinite"):
        aligned(a_map(), np.full((12, 2), np.nan))


# ---- the map of one epoch after that of another


def layer(groups: int = 5, count: int = 60) -> np.ndarray:
    """Classes far apart in ten dimensions."""
    rng = np.random.default_rng(7)
    return rng.normal(size=(groups, 10))[np.arange(count) % groups] * 4 + rng.normal(size=(count, 10)) * 0.5


def test_pca_keeps_its_sides_though_all_features_turn_theirs() -> None:
    """Oracle: features of the other sign have the same map, mirrored at both axes."""
    first = embed(layer(), "pca")
    np.testing.assert_allclose(embed(-layer(), "pca").points, -first.points, atol=1e-9)
    after = embed_after(-layer(), first.points)
    np.testing.assert_allclose(after.points, first.points, atol=1e-9)
    assert (after.method, after.facts, after.shares) == ("pca", first.facts, pytest.approx(first.shares))


def test_the_first_map_is_the_embedding_itself() -> None:
    np.testing.assert_array_equal(embed_after(layer()).points, embed(layer(), "pca").points)


def test_t_sne_begins_at_the_map_before(caplog) -> None:
    """Oracle: the order of five classes in that map, which no motion of a map begun elsewhere reaches."""
    corners = 9 * np.array([[0.0, 1.0], [-0.6, -0.8], [0.95, 0.3], [-0.95, 0.3], [0.6, -0.8]])
    other = corners[np.arange(60) % 5] + a_map(60) * 0.3
    after = embed_after(layer(), other, "t-sne", perplexity=5)
    np.testing.assert_array_equal(after.points, embed_after(layer(), other, "t-sne", perplexity=5).points)
    elsewhere = aligned(embed(layer(), "t-sne", perplexity=5).points, other)
    assert agreement(after.points, other) > 0.95
    assert agreement(elsewhere, other) < 0.5
    assert caplog.messages == []


def agreement(points: np.ndarray, onto: np.ndarray) -> float:
    """The correlation of the coordinates."""
    return float(np.corrcoef((points - points.mean(0)).ravel(), (onto - onto.mean(0)).ravel())[0, 1])


@pytest.mark.parametrize("by", ["openTSNE", "scikit-learn"])
def test_t_sne_of_the_same_features_stays_where_it_is(by: str, monkeypatch) -> None:
    """Oracle: the map itself, which is a minimum already; begun at the PCA's it would be found only by luck."""
    if by == "scikit-learn":
        monkeypatch.setitem(sys.modules, "openTSNE", None)  # as if it were not there
    first = turned(embed(layer(), "t-sne").points, 2.0, mirror=True)
    after = embed_after(layer(), first, "t-sne")
    assert after.facts["program"].startswith(by)
    assert apart(after.points, first) < 0.05 * apart(first, first.mean(0))


def test_digits_that_change_a_little_move_a_little() -> None:
    """Oracle: the spread of the map. With early exaggeration the points move by 0.87 of it."""
    pixels = load_digits().data[:450]
    first = embed(pixels, "t-sne").points
    disturbed = pixels + np.random.default_rng(0).normal(size=pixels.shape) * 2
    after = embed_after(disturbed, first, "t-sne").points
    assert apart(after, first) < 0.3**2 * apart(first, np.broadcast_to(first.mean(0), first.shape))


def test_a_start_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="a start of 9 points for 60 images: one point each"):
        embed(layer(), "t-sne", start=a_map(9))
    for useless in (np.zeros((60, 2)), np.full((60, 2), np.nan)):
        with pytest.raises(ConvscopeError, match="finite, and not all the same"):
            embed(layer(), "t-sne", start=useless)
    for method in ("pca", "umap"):
        with pytest.raises(ConvscopeError, match=f"a start is for t-sne; {method}"):
            embed(layer(), method, start=a_map(60))


def test_a_method_that_cannot_follow_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="no map from epoch to epoch by 'umap'"):
        embed_after(layer(), a_map(60), "umap")
    with pytest.raises(ConvscopeError, match="did you mean 't-sne'"):
        embed_after(layer(), method="tsne")
