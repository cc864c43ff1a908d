"""Sums over a data set, photo by photo where something is at fault. Oracle: a sum that was made by hand."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from convscope.dataset.data_sums import Batch, summed_over
from convscope.dataset.image_sources import source_of
from convscope.errors import ConvscopeError
from tests import friendly


@dataclass
class Total:
    """The sum of all pixels, and how many photos they are of."""

    pixels: float
    photos: int

    @classmethod
    def of(cls, batch: Batch) -> "Total":
        return cls(float(batch.x.double().sum()), len(batch.x))

    def merge(self, other: "Total") -> None:
        self.pixels, self.photos = self.pixels + other.pixels, self.photos + other.photos

    def tensors(self) -> dict[str, np.ndarray]:
        return {"total": np.array([self.pixels, self.photos])}

    @classmethod
    def from_tensors(cls, tensors) -> "Total":
        return cls(float(tensors["total"][0]), int(tensors["total"][1]))


SOURCE = source_of([friendly.photo(20, 16, seed) for seed in range(7)])
IMAGES = [(name, 0) for name in SOURCE.names()]


def test_a_photo_that_the_networks_own_transform_fails_on_is_left_out_and_named() -> None:
    plain, fails = friendly.network().preprocess, SOURCE.read(IMAGES[3][0]).image.tobytes()

    def transform(photo):
        if photo.tobytes() == fails:
            raise ZeroDivisionError("the photo is flat")
        return plain(photo)

    net = friendly.network(preprocess=transform)
    found = summed_over(net, SOURCE, IMAGES, Total.of, Total, batch=3)
    assert dict(found.refused) == {IMAGES[3][0]: "the network's transform failed: the photo is flat"}
    others = [plain(SOURCE.read(name).image) for name, _ in IMAGES if name != IMAGES[3][0]]
    assert found.sums.photos == 6
    assert found.sums.pixels == pytest.approx(float(torch.cat(others).double().sum()))


def test_one_photo_that_does_not_fit_into_memory_is_no_fault_of_the_photo() -> None:
    def short(batch: Batch) -> Total:
        try:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        except RuntimeError as error:
            raise ConvscopeError("the network cannot take an input of 3 x 12 x 12") from error

    with pytest.raises(ConvscopeError, match=r"out of memory on 000000, one photo alone: a smaller input"):
        summed_over(friendly.network(), SOURCE, IMAGES, short, Total, batch=2)
