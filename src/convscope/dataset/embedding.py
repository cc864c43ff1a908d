"""Images as points on a page: near each other where a layer says much the same of them.

X (n, u) are the pooled activations of a layer, one row an image. Three ways to two numbers an image:

    PCA     Y = (X - mean) V, V the two first right singular vectors of X - mean (Pearson 1901): a linear shadow, the
            share of variance that it keeps is known, and distances on the page are never larger than the true ones
    t-SNE   neighbourhoods as probabilities, kept at low Kullback-Leibler divergence (van der Maaten & Hinton 2008);
            of the 50 first principal components, begun at the PCA picture scaled to 1e-4, which keeps the large-scale
            order (Kobak & Linderman 2021). By openTSNE where it is installed, else by scikit-learn: the result says so
    UMAP    a fuzzy graph of neighbours laid out (McInnes et al. 2018), begun likewise; wants the extra ``umap``

The sign of a singular vector is arbitrary: here its largest loading is positive. The same features and seed give the
same picture on one machine, to the last bit, since all run in one thread.

Pitfalls: in t-SNE and UMAP the size of a cluster, the distance between two, and empty space mean little (Wattenberg et
al. 2016); classes that part on the page part in the layer, not the reverse. ``neighbours_alike`` says how much of what
the layer knows is left: the share of an image's nearest that are of its class, before and after.
"""

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from convscope.errors import ConvscopeError, nearest

EMBEDDINGS = ("pca", "t-sne", "umap")
PERPLEXITY, NEIGHBOURS, MIN_DISTANCE = 30, 15, 0.1  # the papers' usual values
_COMPONENTS = 50  # van der Maaten & Hinton 2008
_START = 1e-4  # the deviation that t-SNE begins with
_EXAGGERATION = 12  # of its first steps, van der Maaten 2014; both programs' own
# with it and after it: openTSNE's own. From a start 250 steps keep as many neighbourhoods as 750, on digits and CIFAR
_STEPS, _STEPS_FROM_A_START = (250, 500), (0, 250)
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Projection:
    """``points (n, 2)``; ``facts`` say how they were made, ``shares`` of PCA which part of the variance each keeps."""

    points: Float[np.ndarray, "n 2"]
    method: str
    facts: Mapping[str, str]
    shares: tuple[float, float] | None = field(default=None)


def embed(
    features: Float[np.ndarray, "n u"],
    method: str = "t-sne",
    *,
    seed: int = 0,
    perplexity: int | float | None = None,
    neighbours: int = NEIGHBOURS,
    min_distance: int | float = MIN_DISTANCE,
    start: Float[np.ndarray, "m 2"] | None = None,
) -> Projection:
    """Two numbers for each image.

    Args:
        features: one row an image.
        method: ``"pca"``, ``"t-sne"`` or ``"umap"``.
        seed: of t-SNE and UMAP.
        perplexity: of t-SNE, about how many neighbours an image has; None is 30, or a third of few images.
        neighbours: of UMAP.
        min_distance: of UMAP, how close points may come.
        start: the map (n, 2), of other features of these images, that t-SNE begins at as it is, in place of the
            PCA's, and without its early exaggeration, which can forget the order; it takes fewer steps.

    Raises:
        ConvscopeError: another method, fewer than 3 images, images that are all alike, numbers that are not finite,
            more neighbours than there are images, a start of other images, a package that is not installed.
    """
    if method not in EMBEDDINGS:
        raise ConvscopeError(
            f"no embedding {method!r}{nearest(method, EMBEDDINGS)} (there are {', '.join(EMBEDDINGS)})"
        )
    values = _checked(features)
    if start is not None:
        _check_start(start, len(values), method)
    if method == "pca":
        points, shares = pca(values)
        return Projection(points, method, {"method": "PCA"}, (float(shares[0]), float(shares[1])))
    if method == "t-sne":
        return _t_sne(values, seed, _perplexity(perplexity, len(values)), start)
    if not 2 <= neighbours < len(values):
        raise ConvscopeError(
            f"neighbours={neighbours}: UMAP looks at 2 or more neighbours of an image, and fewer than the "
            f"{len(values)} images there are"
        )
    if not 0 <= min_distance <= 1:
        raise ConvscopeError(f"min_distance={min_distance}: between 0 and 1")
    return _umap(values, seed, neighbours, min_distance)


def _checked(features: Float[np.ndarray, "n u"]) -> Float[np.ndarray, "n u"]:
    values = np.asarray(features, dtype=np.float64)
    if len(values) < 3:
        raise ConvscopeError(f"an embedding needs at least 3 images, not {len(values)}")
    if bad := int((~np.isfinite(values)).any(1).sum()):
        raise ConvscopeError(f"{bad} of the {len(values)} images have features that are NaN or infinite")
    if not np.ptp(values, axis=0).any():
        raise ConvscopeError(f"all {len(values)} images have the same features: there is nothing to lay out")
    return values


def _check_start(start: Float[np.ndarray, "m 2"], images: int, method: str) -> None:
    if method != "t-sne":
        raise ConvscopeError(f"a start is for t-sne; {method} begins nowhere, or forgets where")
    if len(start) != images or not np.isfinite(start).all() or not np.ptp(start, axis=0).any():
        raise ConvscopeError(
            f"a start of {len(start)} points for {images} images: one point each, finite, and not all the same"
        )


def pca(values: Float[np.ndarray, "n u"], most: int = 2) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " k"]]:
    """The first principal components (two at least, zero where there are fewer), and the share of variance of each."""
    centred = values - values.mean(0)
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    sign = np.sign(right[np.arange(len(right)), np.abs(right).argmax(1)])
    scores, shares = left * (sizes * sign), sizes**2 / (sizes**2).sum()
    missing = max(0, 2 - len(sizes))
    return np.pad(scores, ((0, 0), (0, missing)))[:, :most], np.pad(shares, (0, missing))[:most]


def _perplexity(asked: int | float | None, images: int) -> float:
    most = (images - 1) // 3
    if asked is None:
        return float(min(PERPLEXITY, most or (images - 1) / 3))
    if not 1 <= asked <= most:
        limits = f"it is at least 1 and at most {most}" if most else "none can be asked for"
        raise ConvscopeError(
            f"perplexity={asked:g}: t-SNE looks at 3 times as many neighbours of an image, so that of {images} images "
            f"{limits}"
        )
    return float(asked)


def _t_sne(
    values: Float[np.ndarray, "n u"], seed: int, perplexity: float, given: Float[np.ndarray, "n 2"] | None
) -> Projection:
    reduced, _ = pca(values, _COMPONENTS)
    start = _begun_at(reduced, _START) if given is None else np.asarray(given, np.float64)
    early, later = _STEPS if given is None else _STEPS_FROM_A_START
    how = _How(seed, perplexity, early, later)
    try:
        import openTSNE
    except ImportError:
        points, by = _scikit_t_sne(reduced, start, how), "scikit-learn"
    else:
        points, by = _open_t_sne(openTSNE, reduced, start, how), f"openTSNE {openTSNE.__version__}"
    if not np.isfinite(points).all():
        raise ConvscopeError(f"t-SNE gives no finite points of features as large as {np.abs(values).max():.2g}")
    facts = {"method": "t-SNE", "program": by, "perplexity": f"{perplexity:g}", "seed": str(seed)}
    return Projection(points, "t-sne", facts)


@dataclass(frozen=True)
class _How:
    """``early`` steps with exaggeration, then ``later`` without."""

    seed: int
    perplexity: float
    early: int
    later: int


def _open_t_sne(
    package: Any, reduced: Float[np.ndarray, "n k"], start: Float[np.ndarray, "n 2"], how: _How
) -> Float[np.ndarray, "n 2"]:
    made = package.TSNE(
        perplexity=how.perplexity, initialization=start, random_state=how.seed % 2**32,
        early_exaggeration=_EXAGGERATION, early_exaggeration_iter=how.early, n_iter=how.later,
        # one thread and exact neighbours: the same picture whatever the machine's cores
        n_jobs=1, neighbors="exact", negative_gradient_method="bh",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # the logger: a start that is a map already "may have poor convergence"
        silenced = logging.getLogger("openTSNE.tsne")
        silenced.addFilter(_nothing)
        try:
            return np.asarray(made.fit(reduced), np.float64)
        finally:
            silenced.removeFilter(_nothing)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


def _scikit_t_sne(
    reduced: Float[np.ndarray, "n k"], start: Float[np.ndarray, "n 2"], how: _How
) -> Float[np.ndarray, "n 2"]:
    from sklearn.manifold import TSNE

    begun: Any = start.astype(np.float32)  # its signature says str
    # 1000 is its own; the first 250 of its steps are always the early ones
    made = TSNE(
        2, perplexity=how.perplexity, init=begun, random_state=how.seed % 2**32, n_jobs=1,
        early_exaggeration=float(_EXAGGERATION) if how.early else 1.0, max_iter=1000 if how.early else how.later,
    )  # fmt: skip
    return np.asarray(made.fit_transform(reduced.astype(np.float32)), np.float64)


def _umap(values: Float[np.ndarray, "n u"], seed: int, neighbours: int, min_distance: int | float) -> Projection:
    reduced, _ = pca(values, _COMPONENTS)
    how: dict[str, Any] = {"n_neighbors": neighbours, "min_dist": min_distance, "random_state": seed % 2**32}
    how["init"] = _begun_at(reduced, 10.0).astype(np.float32)
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it could use, and does not need
        try:
            import umap

            made = umap.UMAP(n_jobs=1, **how).fit_transform(reduced)
        except ImportError:
            raise ConvscopeError(
                "UMAP needs umap-learn, which is not installed: pip install 'convscope[umap]'; pca and t-sne do not"
            ) from None
        finally:
            torch.set_num_threads(threads)  # numba sets OpenMP's number, which is torch's too
    facts = {"method": "UMAP", "program": f"umap-learn {umap.__version__}", "neighbours": str(neighbours)}
    facts |= {"least distance": f"{min_distance:g}", "seed": str(seed)}
    return Projection(np.asarray(made, np.float64), "umap", facts)


def _begun_at(reduced: Float[np.ndarray, "n k"], size: float) -> Float[np.ndarray, "n 2"]:
    """The first two components, the first with deviation ``size``; none of two equal images is moved."""
    first = np.pad(reduced, ((0, 0), (0, max(0, 2 - reduced.shape[1]))))[:, :2]
    return first / first[:, 0].std() * size


def neighbours_alike(positions: Float[np.ndarray, "n d"], labels: Sequence[str | None], nearest_of: int = 10) -> float:
    """The mean share, of each labelled image's nearest labelled ones, that have its label; NaN for fewer than two."""
    kept = [place for place, label in enumerate(labels) if label is not None]
    places, named = np.asarray(positions, np.float64)[kept], np.array([labels[place] for place in kept])
    near = _nearest_rows(places, nearest_of)
    return float((named[near] == named[:, None]).mean()) if near.size else float("nan")


def neighbours_kept(
    features: Float[np.ndarray, "n d"], points: Float[np.ndarray, "n 2"], nearest_of: int = 10
) -> float:
    """The mean share of each image's nearest by its features that are among its nearest points; NaN for one image.

    Of points strewn at random it is about ``nearest_of / (n - 1)``.
    """
    before, after = (_nearest_rows(np.asarray(one, np.float64), nearest_of) for one in (features, points))
    both = (before[:, :, None] == after[:, None, :]).any(2)
    return float(both.mean()) if both.size else float("nan")


def _nearest_rows(places: Float[np.ndarray, "n d"], nearest_of: int) -> Int[np.ndarray, "n k"]:
    """Of each row the nearest others, as many as there are at most, in no order."""
    count = min(nearest_of, len(places) - 1)
    if count < 1:
        return np.zeros((len(places), 0), np.int64)
    squares, near = (places**2).sum(1), np.empty((len(places), count), np.int64)
    for first in range(0, len(places), _ROWS_AT_ONCE):
        rows = slice(first, first + _ROWS_AT_ONCE)
        apart = squares - 2 * places[rows] @ places.T
        apart[np.arange(len(apart)), np.arange(first, first + len(apart))] = np.inf  # not its own neighbour
        near[rows] = np.argpartition(apart, count - 1, axis=1)[:, :count]
    return near
