"""Embeddings. Oracles: an eigendecomposition for PCA, clusters known beforehand, a slow count of neighbours."""

import sys

import numpy as np
import pytest

from convscope.dataset.embedding import embed, neighbours_alike, pca
from convscope.errors import ConvscopeError

METHODS = ("pca", "t-sne", "umap")


def clusters(count: int = 40, units: int = 12, groups: int = 3) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    middles = rng.normal(size=(groups, units)) * 6
    labels = [place % groups for place in range(count)]
    return (middles[labels] + rng.normal(size=(count, units))).astype(np.float32), [f"g{label}" for label in labels]


@pytest.mark.parametrize("shape", [(50, 7), (5, 40), (3, 3)])
def test_pca_is_the_eigenvectors_of_the_covariance_with_their_largest_loading_positive(shape) -> None:
    values = np.random.default_rng(1).normal(size=shape) * np.arange(1, shape[1] + 1) + 3
    points, shares = pca(values)
    sizes, vectors = np.linalg.eigh(np.cov(values.T))
    order = sizes.argsort()[::-1][:2]
    for place, k in enumerate(order):
        vector = vectors[:, k] * np.sign(vectors[np.abs(vectors[:, k]).argmax(), k])
        np.testing.assert_allclose(points[:, place], (values - values.mean(0)) @ vector, atol=1e-8)
        assert shares[place] == pytest.approx(sizes[k] / sizes.sum())


def test_pca_of_one_unit_has_an_empty_second_component() -> None:
    projection = embed(np.arange(5.0)[:, None], "pca")
    np.testing.assert_allclose(projection.points, np.stack([np.arange(5) - 2.0, np.zeros(5)], 1))
    assert projection.shares == (1.0, 0.0)


def test_the_order_of_the_images_does_not_change_the_picture() -> None:
    features, _ = clusters()
    other = np.random.default_rng(3).permutation(len(features))
    np.testing.assert_allclose(embed(features, "pca").points[other], embed(features[other], "pca").points, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_clusters_stay_clusters_and_the_same_seed_gives_the_same_picture(method: str) -> None:
    features, labels = clusters()
    one, again = (embed(features, method, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.points, again.points)
    assert one.points.shape == (40, 2)
    assert np.isfinite(one.points).all()
    assert neighbours_alike(one.points, labels, 5) > 0.95
    assert neighbours_alike(features, labels, 5) > 0.95


def test_another_seed_gives_another_umap() -> None:
    features, _ = clusters()
    assert not np.array_equal(embed(features, "umap", seed=3).points, embed(features, "umap", seed=4).points)


def test_t_sne_is_by_scikit_learn_where_opentsne_is_not_installed_and_says_so(monkeypatch) -> None:
    features, labels = clusters()
    assert embed(features).facts["program"].startswith("openTSNE 1.")
    monkeypatch.setitem(sys.modules, "openTSNE", None)  # as if it were not there
    one, again = (embed(features, seed=2) for _ in range(2))
    assert one.facts == {"method": "t-SNE", "program": "scikit-learn", "perplexity": "13", "seed": "2"}
    np.testing.assert_array_equal(one.points, again.points)
    assert neighbours_alike(one.points, labels, 5) > 0.95


def test_umap_that_is_not_installed_is_refused_with_the_way_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConvscopeError, match=r"pip install 'convscope\[umap\]'; pca and t-sne do not"):
        embed(clusters()[0], "umap")


@pytest.mark.parametrize(("images", "used"), [(200, "30"), (40, "13"), (3, "0.666667")])
def test_the_perplexity_is_30_or_a_third_of_few_images(images: int, used: str, capfd) -> None:
    assert embed(clusters(images)[0]).facts["perplexity"] == used
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")  # openTSNE says so where it uses another


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (2, {}, "at least 3 images, not 2"),
        (40, {"perplexity": 14}, "of 40 images it is at least 1 and at most 13"),
        (40, {"perplexity": 0.5}, "perplexity=0.5"),
        (3, {"perplexity": 1}, "of 3 images none can be asked for"),
        (40, {"method": "tsne"}, "no embedding 'tsne'; did you mean 't-sne'"),
        (40, {"method": "umap", "neighbours": 40}, "fewer than the 40 images"),
        (40, {"method": "umap", "neighbours": 1}, "2 or more neighbours"),
        (40, {"method": "umap", "min_distance": 2.0}, "between 0 and 1"),
    ],
)
def test_refusals(count: int, options: dict, message: str) -> None:
    with pytest.raises(ConvscopeError, match=message):
        embed(clusters(count)[0], **options)


def test_features_that_say_nothing_are_refused() -> None:
    with pytest.raises(ConvscopeError, match="all 9 images have the same features"):
        embed(np.ones((9, 4)), "pca")
    spoilt = clusters()[0]
    spoilt[3, 2], spoilt[7, 0] = np.nan, np.inf
    with pytest.raises(ConvscopeError, match="2 of the 40 images have features that are NaN or infinite"):
        embed(spoilt, "pca")


def test_neighbours_alike_equals_a_slow_count_and_leaves_out_what_has_no_label() -> None:
    rng = np.random.default_rng(4)
    at, labels = rng.normal(size=(700, 3)), [("a", "b", "c", None)[k] for k in rng.integers(0, 4, 700)]
    known = [i for i, label in enumerate(labels) if label is not None]
    shares = []
    for i in known:
        others = sorted((float(((at[i] - at[j]) ** 2).sum()), j) for j in known if j != i)[:4]
        shares.append(sum(labels[j] == labels[i] for _, j in others) / 4)
    assert neighbours_alike(at, labels, 4) == pytest.approx(np.mean(shares))
    assert np.isnan(neighbours_alike(at, ["a", *[None] * 699]))
