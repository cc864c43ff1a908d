"""What a frozen base says of every image, computed once: the head is then trained on that, epoch after epoch.

    phi_i = P(base(x_i) at the layer),      P the head's own pooling, which has no weights

The base does not learn, so phi_i is the same in every epoch: an epoch of the head costs a matrix product instead of a
pass through the base. P belongs to what is kept, since it makes it small: 256 numbers an image of AlexNet's
``features.10`` for the head ``mean`` instead of 256 x 13 x 13. Pooled again, phi_i stays as it is (means over single
cells), so that the head is trained as it will be used.

    NAME.run/features/parts/00007.safetensors    some images each, while it is going on (``store/parts.py``)
                      KEY.safetensors            all of them, one tensor a split, read from disk as it is needed

KEY is a fingerprint of the base's weights, the layer, the pooling and the images: features of anything else are never
taken for these. A run that is killed goes on with the parts that are there; batches begin at a part's first image, so
that it gives the same bits. When the training is finished ``remove_features`` takes the folder away: the weights that
the run leaves hold the base.

A step of Adam moves each weight by about the learning rate eta, and so a score by up to eta sum_k |phi_k|: eta times
7,000 with SqueezeNet's last maps, times 5 with those in the middle of the bundled network. The head therefore begins
and learns as it would on phi / s,

    s = 2^r,      r = round(log2(mean_i sum_k |phi_ik| / 100))      over the training images

(``HeadedNet.scale_to``; a power of two rounds nothing): one learning rate then suits every base, layer and pooling.

Pitfall: images must be the same in every epoch. Shifts and flips of the images would each need a pass of their own.
"""

import hashlib
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from convscope.dataset.room import NoRoomError, Room
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.headed import HeadedNet
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.store.feature_file import mapped_tensor, writing_tensors
from convscope.store.parts import PARTS, present, read_part, remove_parts, write_part
from convscope.training.run_data import SIDES, RunData, Split
from convscope.writing import remove_asides

FEATURES = "features"  # the folder
_A_PART = 256  # images: about what a second or two of a small base gives
_TENSOR = "features"
_SUM = 100  # of a scaled image's features: about that of 256 means of maps around 0.4
TRAINED, HELD_OUT = SIDES


Features = Float[np.ndarray, "n u h w"]
OnStep = Callable[[int, int], None]


class MappedFeatures:
    """Rows of a file's tensor, read when they are wanted."""

    def __init__(self, rows: Features) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        """Those rows, as memory of their own."""
        return torch.from_numpy(self.rows[indices.numpy()])


def frozen_features(
    net: HeadedNet, data: RunData, folder: Path, *, batch: int = 32, on_step: OnStep | None = None
) -> RunData:
    """The same data with pooled features in the place of images, from a file in ``folder/features``.

    The file is made where it is missing. The head's first weights are scaled to the features.

    Args:
        net: its base and its head's ``pool``.
        data: images for the base.
        folder: of the run, which nobody else writes into.
        batch: images in one pass; the memory grows with it.
        on_step: called with (images done, all images), also for those that were there already.

    Raises:
        ConvscopeError: features that are not finite, or an image that the base does not take.
        UnwritableError: the disk is full; the parts that are there stay.
    """
    place, splits = folder / FEATURES, data.sides()
    key = _key(net, data.fingerprint)
    path = place / f"{key}.safetensors"
    if not path.is_file():
        remove_asides(place / PARTS)
        _compute(net, splits, place, key, batch, on_step or _unheard)
        _assemble(path, splits, place, key)
    for other in place.glob("*.safetensors"):  # of another base or other data
        if other != path:
            other.unlink(missing_ok=True)
    net.scale_to(_scale(mapped_tensor(path, TRAINED)))
    made = {name: replace(split, images=_mapped(path, name)) for name, split in splits.items()}
    # a training that goes on with another base would be refused: its features are other data
    return replace(data, train=made[TRAINED], held_out=made[HELD_OUT], fingerprint=key)


def _scale(rows: NDArray[np.generic]) -> float:
    sums = [float(np.abs(rows[at : at + _A_PART].astype(np.float64)).sum()) for at in range(0, len(rows), _A_PART)]
    mean = sum(sums) / len(rows)
    return 2.0 ** round(math.log2(mean / _SUM)) if mean else 1.0


def _mapped(path: Path, name: str) -> MappedFeatures:
    return MappedFeatures(mapped_tensor(path, name))


def remove_features(folder: Path) -> None:
    """Take the features away: the run is finished."""
    shutil.rmtree(folder / FEATURES, ignore_errors=True)


def _unheard(_done: int, _all: int) -> None:
    pass


def _key(net: HeadedNet, data: str) -> str:
    weights = Network(net.base, Preprocess(None, None), (), "").fingerprint
    said = [weights, str(net.base), net.layer, str(_pool(net)), str(_precision(net).dtype), data]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


def _pool(net: HeadedNet) -> nn.Module:
    return net.head.get_submodule("pool")


def _precision(net: HeadedNet) -> Tensor:
    return next((p for p in net.parameters() if p.is_floating_point()), torch.zeros(()))


@dataclass(frozen=True)
class _Part:
    number: int
    split: str
    rows: range


def _parts(splits: Mapping[str, Split]) -> Iterator[_Part]:
    number = 0
    for name, split in splits.items():
        for first in range(0, len(split.ids), _A_PART):
            yield _Part(number, name, range(first, min(first + _A_PART, len(split.ids))))
            number += 1


def _compute(
    net: HeadedNet,
    splits: Mapping[str, Split],
    place: Path,
    key: str,
    batch: int,
    on_step: OnStep,
) -> None:
    """See to it that every part is there."""
    there = present(place, key)
    done, total = 0, sum(len(split.ids) for split in splits.values())
    for part in _parts(splits):
        if part.number not in there:
            rows: list[Features] = []
            for found in _passes(net, splits[part.split], part.rows, batch):
                rows.append(found)
                on_step(done + sum(map(len, rows)), total)
            write_part(place, part.number, {_TENSOR: np.concatenate(rows)}, key)
        done += len(part.rows)
        on_step(done, total)


def _passes(net: HeadedNet, split: Split, rows: range, batch: int) -> Iterator[Features]:
    """Batch after batch; where memory is too small for one, in halves."""

    def work(some: Sequence[int]) -> Features:
        x = split.images[torch.arange(some[0], some[-1] + 1)].to(_precision(net))
        with evaluation(net), torch.no_grad():
            found = _pool(net)(net.features(x)).float().cpu().numpy()
        _refuse_unbounded(found, [split.ids[row] for row in some], net.layer)
        return found

    try:
        yield from Room(work, batch, at_once=1).each(rows)
    except NoRoomError as error:
        raise ConvscopeError("not enough memory for the base on one image; give a smaller input (--size)") from error


def _refuse_unbounded(found: Features, ids: Sequence[str], layer: str) -> None:
    bad = ~np.isfinite(found.reshape(len(found), -1)).all(1)
    if bad.any():
        raise ConvscopeError(
            f"layer {layer!r} gives numbers that are NaN or infinite for {ids[int(bad.argmax())]}: a head cannot learn "
            "from them"
        )


def _assemble(path: Path, splits: Mapping[str, Split], place: Path, key: str) -> None:
    """One file of all parts, in the order of the images, which then go."""
    first = _of_part(place, 0, key)
    shapes = {name: (np.float32, (len(split.ids), *first.shape[1:])) for name, split in splits.items()}
    with writing_tensors(path, shapes) as put:
        for part in _parts(splits):
            put(part.split, _of_part(place, part.number, key))
    remove_parts(place)


def _of_part(place: Path, number: int, key: str) -> NDArray[np.generic]:
    found = read_part(place, number, key)
    if found is None:  # it was whole a moment ago
        raise ConvscopeError(f"part {number} in {place} was changed or taken away while it was read; start again")
    return found[_TENSOR]
