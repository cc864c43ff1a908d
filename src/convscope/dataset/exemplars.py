"""The images that every unit of a layer likes best: the top k activations, kept up to date in one pass.

Of each image the ``per_image`` strongest positions take part (one, unless asked). The order is total, so that nothing
depends on how the images came: the larger value first, among equals the earlier image, within an image the earlier
position, row by row. The k first of a union are among the k first of its parts; hence

    top(A + B) = top(top(A) + top(B))

for any split into batches and shards, in any order: the result is that of a full sort, bit for bit. (Zeiler & Fergus
2014 show the top nine of a unit; DeepFace and others call them maximally activating patches.)

Symbols: u units, b images, m positions an image, k = ``top``. ``values (u, k)`` descends along k; a place that nobody
has taken has value -inf and image, y, x = -1.

Cost: images are held until there are some dozens, and first compared with each unit's k-th value; only units that one
of them enters are sorted again. The n-th image enters a unit with probability k / n.

Pitfalls: ``readings`` give -inf for a map without a finite value, which never passes an empty place's -inf; NaN would
compare false with everything, and +inf win. Ties are the rule for rectified or quantised outputs: a sort that is not
stable gives exemplars that depend on the batch size.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from convscope.errors import ConvscopeError

Array = NDArray[Any]
HELD = 64  # images that wait to be sorted together
_NO_IMAGE = np.iinfo(np.int64).max


@runtime_checkable
class Strongest(Protocol):
    """Of the readings: the strongest positions, ``(m, b, u)`` each, best first; -inf at -1, -1 where there is none."""

    @property
    def values(self) -> Array:
        """The activations."""
        ...

    @property
    def y(self) -> Array:
        """Their rows on the map."""
        ...

    @property
    def x(self) -> Array:
        """Their columns."""
        ...


class Candidates(NamedTuple):
    """What competes for places: each ``(u, n)``, one row a unit."""

    values: Array  # float32
    images: Array  # int64
    y: Array  # int32
    x: Array  # int32

    def of(self, units: Array) -> "Candidates":
        """Those of some units only."""
        return Candidates(*(each[units] for each in self))

    def placed(self, order: Array) -> "Candidates":
        """In another order, ``(u, n')``, which may be fewer."""
        return Candidates(*(np.take_along_axis(each, order, 1) for each in self))

    def beside(self, other: "Candidates") -> "Candidates":
        """Both, one after the other."""
        return Candidates(*(np.concatenate(pair, 1) for pair in zip(self, other, strict=True)))


class Exemplars:
    """The ``top`` strongest of every unit of one layer: ``update`` with batches, ``merge`` with others, ``compute``."""

    def __init__(self, top: int, per_image: int = 1) -> None:
        if top < 1 or per_image < 1:
            raise ConvscopeError(f"top={top}, per_image={per_image}: at least one exemplar a unit and image is kept")
        self.top, self.per_image = top, per_image
        self._kept: Candidates | None = None
        self._held: list[tuple[Array, ...]] = []  # values, y, x (m, b, u) and image numbers (b,)
        self._waiting = 0

    def update(self, readings: Strongest, images: Array) -> None:
        """Take in a batch whose images have the numbers ``images (b,)``.

        Raises:
            ConvscopeError: another number of images than in the readings, or of units than before.
        """
        values, y, x = (each[: self.per_image] for each in (readings.values, readings.y, readings.x))
        if values.shape[1] != len(images):
            raise ConvscopeError(f"activations of {values.shape[1]} images were given with {len(images)} image numbers")
        self._begun(values.shape[2])
        self._held.append((values, y, x, images))
        self._waiting += len(images)
        if self._waiting >= HELD:
            self._fold()

    def _fold(self) -> None:
        """Give the held ones their places."""
        if not self._held:
            return
        values, y, x = (np.concatenate(parts, 1) for parts in list(zip(*self._held, strict=True))[:3])
        images = np.concatenate([each[3] for each in self._held])
        self._held, self._waiting = [], 0
        kept = self._begun(values.shape[2])
        in_order = _ascending(kept.images, images)
        units = _entered(kept, values[0], images[:, None], in_order)  # best first: the others enter only after it
        if len(units):
            self._keep(units, _candidates(values, images, y, x, units), in_order)

    def merge(self, other: "Exemplars") -> None:
        """Take in another's; the order of merging does not matter.

        Raises:
            ConvscopeError: exemplars of another number of units.
        """
        new = other.compute()
        if len(new.values):
            self._fold()
            kept = self._begun(len(new.values))
            in_order = _ascending(kept.images, new.images[new.images >= 0].min(initial=_NO_IMAGE, keepdims=True))
            units = _entered(kept, new.values[:, 0][None], new.images[:, 0][None], in_order)
            self._keep(units, new.of(units), in_order)

    def _begun(self, units: int) -> Candidates:
        """The kept places, all empty at first."""
        if self._kept is None:
            self._kept = _nobody(units, self.top)
        if len(self._kept.values) != units:
            raise ConvscopeError(f"exemplars of {len(self._kept.values)} units were given those of {units}")
        return self._kept

    def _keep(self, units: Array, new: Candidates, in_order: bool) -> None:
        """Give the best of the kept and the new their places, in these units."""
        assert self._kept is not None
        both = self._kept.of(units).beside(new)
        best = both.placed(_ranking(both, self.top, in_order))
        for kept, each in zip(self._kept, best, strict=True):
            kept[units] = each

    def compute(self) -> Candidates:
        """``values, images, y, x``, each ``(u, top)``, best first; no unit before the first batch."""
        self._fold()
        return self._kept or _nobody(0, self.top)

    def tensors(self) -> dict[str, Array]:
        """What a part keeps of it."""
        return dict(self.compute()._asdict())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Array], per_image: int = 1) -> "Exemplars":
        """As it was when ``tensors`` was called."""
        kept = Candidates(*(np.array(tensors[name]) for name in Candidates._fields))
        made = cls(kept.values.shape[1], per_image)
        made._kept = kept if len(kept.values) else None
        return made


def _nobody(units: int, top: int) -> Candidates:
    images, y, x = (np.full((units, top), -1, kind) for kind in (np.int64, np.int32, np.int32))
    return Candidates(np.full((units, top), -np.inf, np.float32), images, y, x)


def _ascending(kept: Array, images: Array) -> bool:
    """True where every new image comes after all kept ones, and the new ones ascend: they lose every tie."""
    later = not len(images) or int(images[0]) > int(kept.max(initial=-1))
    return later and bool((images[1:] > images[:-1]).all())


def _entered(kept: Candidates, values: Array, images: Array, in_order: bool) -> Array:
    """The units of which some image, values ``(b, u)``, is better than the last that is kept."""
    last = kept.values[:, -1]
    enters = values > last
    if not in_order:
        enters |= (values == last) & (images < kept.images[:, -1])
    return np.flatnonzero(enters.any(0))


def _candidates(values: Array, images: Array, y: Array, x: Array, units: Array) -> Candidates:
    """``(m, b, u)`` as rows of units, of each image its positions in turn; what is not finite loses to empty places."""
    shape = len(units), values.shape[1] * len(values)
    found, at_y, at_x = (each[:, :, units].transpose(2, 1, 0).reshape(shape) for each in (values, y, x))
    found = np.where(np.isfinite(found), found, np.float32(-np.inf))
    return Candidates(found, np.broadcast_to(np.repeat(images, len(values)), shape), at_y, at_x)


def _ranking(all_of_them: Candidates, top: int, in_order: bool) -> Array:
    """Where the ``top`` best of ``(u, n)`` candidates stand, best first."""
    if in_order:
        return _first_largest(all_of_them.values, top)
    values, images, y, x = all_of_them
    return np.lexsort((x, y, images, -values), axis=1)[:, :top]


def _first_largest(values: Array, top: int) -> Array:
    """Columns of the ``top`` largest of ``(u, n)`` float32, the first of equal ones first.

    The bits of a float, read as a whole number, ascend with it (those of negative ones the other way round). With the
    column below them they are numbers of which no two are alike, for the fast sort that is not stable.
    """
    bits = (values + np.float32(0)).view(np.int32).astype(np.int64)  # + 0: -0.0 is 0.0
    bits ^= (bits >> 63) & 0x7FFFFFFF
    keys = (~bits << 32) | np.arange(values.shape[1])
    return np.sort(np.partition(keys, top - 1, axis=1)[:, :top], axis=1) & 0xFFFFFFFF
