"""One map after the other: points that moved, not axes that turned.

An embedding's axes mean nothing: the sign of a principal component is arbitrary, two components of like variance may
turn into each other, and t-SNE has no axes at all. Drawn epoch after epoch, the page would spin. So each map A is laid
onto the one before, B, by the rigid motion that brings the same images nearest, the orthogonal Procrustes problem:

    min over orthogonal R, shift t   sum_i |a_i R + t - b_i|^2
    R = U V^T,  U S V^T = svd((A - mean A)^T (B - mean B)),  t = mean B - (mean A) R         (Schonemann 1966)

A, B     ``points``, ``onto`` (n, 2), the same images in the same rows
R, t     rotations and reflections, and a shift; no scaling: a layer that draws the classes apart is seen to do so

t-SNE is not settled by that: another start is another arrangement. There the next map begins at the map before, and is
then laid onto it likewise (``embed_after``). UMAP forgets where it began, and is not offered.

Citation: P. H. Schonemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31, 1966.

Pitfalls: R turns within the plane. Where the second and the third component change places, another plane is shown,
and no motion of the old one resembles it. Errors add up: map 50 lies well on map 49, and need not on map 0. Points on
one line fix R but for a reflection at that line, which moves none of them.
"""

import numpy as np
from jaxtyping import Float

from convscope.dataset.embedding import Projection, embed
from convscope.errors import ConvscopeError, nearest

FOLLOWED = ("pca", "t-sne")


def aligned(points: Float[np.ndarray, "n 2"], onto: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "n 2"]:
    """``points``, turned, mirrored and shifted as one so that each comes nearest to its row of ``onto``.

    Args:
        points: the map to lay.
        onto: the map to lay it on, of the same images in the same order.

    Returns:
        The points in float64; all distances between them are as before.

    Raises:
        ConvscopeError: maps of different numbers of points, none at all, numbers that are not finite.
    """
    if len(points) != len(onto) or not len(points):
        raise ConvscopeError(
            f"{len(points)} points cannot be laid onto {len(onto)}: both maps hold the same images, in the same order"
        )
    if not (np.isfinite(points).all() and np.isfinite(onto).all()):
        raise ConvscopeError("a map to align has points that are NaN or infinite")
    moved, fixed = np.asarray(points, np.float64), np.asarray(onto, np.float64)
    middle, place = moved.mean(0), fixed.mean(0)
    left, _, right = np.linalg.svd((moved - middle).T @ (fixed - place))
    return (moved - middle) @ (left @ right) + place


def embed_after(
    features: Float[np.ndarray, "n u"],
    before: Float[np.ndarray, "n 2"] | None = None,
    method: str = "pca",
    *,
    seed: int = 0,
    perplexity: int | float | None = None,
) -> Projection:
    """The map of ``features``, begun at the map ``before`` (t-SNE) and laid onto it.

    Args:
        features: one row an image.
        before: the points that the snapshot before has; None for the first.
        method: ``"pca"`` or ``"t-sne"``.
        seed: of t-SNE.
        perplexity: of t-SNE, as in ``embed``.

    Raises:
        ConvscopeError: another method; what ``embed`` or ``aligned`` refuses.
    """
    if method not in FOLLOWED:
        raise ConvscopeError(f"no map from epoch to epoch by {method!r}{nearest(method, FOLLOWED)} (pca and t-sne)")
    if before is None:
        return embed(features, method, seed=seed, perplexity=perplexity)
    made = embed(features, method, seed=seed, perplexity=perplexity, start=None if method == "pca" else before)
    return Projection(aligned(made.points, before), made.method, made.facts, made.shares)
