"""Photos that results refer to: ablated units are put to their mean over them, or to what they say of one of them;
pictures by optimisation are measured against the strongest activation over them.

They are read one at a time and go through the network in batches; nothing of them is kept but sums. All are used, or
the first ``most`` of them in order (a folder's: by path), never a silent sample.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, refusing_input
from convscope.attribution.unit_values import UnitMaxima, UnitMeans
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.picture_folders import find_images
from convscope.network.pictures import read_image
from convscope.network.targets import Unit
from convscope.stamps import pixels_hash


class ReferencePhotos:
    """The photos as ``net`` sees them; means are computed when first asked for, and once a layer.

    Args:
        net: the network whose units are looked at.
        data: a folder of pictures, or a list of photos.
        most: only the first so many.
        batch: photos in one pass.
        on_step: called with (done, all) photos of a pass over them.

    Raises:
        ConvscopeError: no such folder, no photo, ``most`` or ``batch`` below 1.
    """

    def __init__(
        self,
        net: Network,
        data: "str | Path | Sequence[Photo]",
        *,
        most: int | None = None,
        batch: int = 32,
        on_step: Callable[[int, int], None] | None = None,
    ) -> None:
        for what, number in (("most", most), ("batch", batch)):
            if number is not None and number < 1:
                raise ConvscopeError(f"{what}={number}: take at least one photo")
        is_folder = isinstance(data, str | Path)
        every: list[Photo] = list(find_images(Path(data))) if is_folder else list(data)
        if not every:
            raise ConvscopeError("data=[] holds no photo; give at least one, or a folder")
        self.net, self.photos, self.batch, self.on_step = net, every[:most], batch, on_step
        first = "" if len(self.photos) == len(every) else f"the first {len(self.photos)} of "
        self.line = f"{first}{len(every)} photo{'s' * (len(every) > 1)}" + (
            f" in {Path(data).resolve().name}" if is_folder else ""
        )
        self._means: dict[str, Tensor] = {}
        self._hashes: list[str] = []

    def means(self, layers: Sequence[str]) -> dict[str, Tensor]:
        """Layer -> the mean of each of its units over photos and positions.

        Raises:
            ConvscopeError: a photo that cannot be read, or that the network does not take.
        """
        missing = [layer for layer in layers if layer not in self._means]
        if missing:
            sums = UnitMeans(self.net.module, missing)
            for x in self._batches():
                with refusing_input(self.net, x):
                    sums.update(x)
            self._means |= sums.compute()
        return {layer: self._means[layer] for layer in layers}

    def strongest(self, layers: Sequence[str]) -> dict[str, float]:
        """``layer:unit`` -> its largest activation over photos and positions, of every unit of ``layers``.

        Raises:
            ConvscopeError: a photo that cannot be read, or that the network does not take.
        """
        largest = UnitMaxima(self.net.module, layers)
        for x in self._batches():
            with refusing_input(self.net, x):
                largest.update(x)
        by_layer = largest.compute()
        return {str(Unit(layer, k)): float(v) for layer, values in by_layer.items() for k, v in enumerate(values)}

    def data_hash(self) -> str:
        """Of the pixels of all photos that went through the network."""
        return hashlib.sha256("".join(self._hashes).encode()).hexdigest()[:16]

    def another(self, photo: Image.Image, generator: torch.Generator) -> tuple[str, Image.Image]:
        """One of the photos at random, and its name; not ``photo`` itself, unless there is no other."""
        order = torch.randperm(len(self.photos), generator=generator).tolist()
        for i in order:
            found = read_image(self.photos[i])
            if found.size != photo.size or found.tobytes() != photo.tobytes():
                return self._name(i), found
        return self._name(order[0]), read_image(self.photos[order[0]])

    def _name(self, i: int) -> str:
        photo = self.photos[i]
        return Path(photo).name if isinstance(photo, str | Path) else f"photo {i + 1}"

    def _batches(self) -> Iterator[Tensor]:
        """``(n, c, H, W)``, n at most ``batch``, of photos of one input size that follow one another."""
        self._hashes = []
        done = 0
        for _, group in itertools.groupby(self._inputs(), key=lambda x: x.shape):
            while rows := list(itertools.islice(group, self.batch)):
                x = torch.cat(rows)
                yield x
                done += len(x)
                if self.on_step is not None:
                    self.on_step(done, len(self.photos))

    def _inputs(self) -> Iterator[Tensor]:
        for photo in self.photos:
            image = read_image(photo)
            self._hashes.append(pixels_hash(image))
            yield self.net.input_of(image)
