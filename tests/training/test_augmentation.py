"""Oracle: each image's shift and mirror sought among all that there are."""

import torch

from convscope.training.augmentation import augmented, flipped, shifted
from tests.nets.building import images


def test_each_image_is_moved_by_its_own_few_pixels(generator: torch.Generator) -> None:
    x = images(60, 2, 9, 7)
    moved, found = shifted(x, 2, generator), set()
    for before, after in zip(x, moved, strict=True):
        fits = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if torch.equal(_moved(before, dy, dx), after)]
        assert len(fits) == 1
        found.add(fits[0])
    assert len(found) > 15  # of 25


def _moved(image: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """Rows and columns by number, those outside being the border's."""
    rows, columns = (torch.arange(n).add(d).clamp(0, n - 1) for n, d in zip(image.shape[1:], (dy, dx), strict=True))
    return image[:, rows][:, :, columns]


def test_about_half_are_mirrored(generator: torch.Generator) -> None:
    x = images(100)
    kinds = [
        (torch.equal(after, before), torch.equal(after, before.flip(2)))
        for before, after in zip(x, flipped(x, generator), strict=True)
    ]
    assert set(kinds) == {(True, False), (False, True)}
    assert 30 < kinds.count((False, True)) < 70


def test_none_is_none(generator: torch.Generator) -> None:
    x = images(3)
    assert augmented(x, "none", generator) is x
    assert augmented(x, "shifts", generator).shape == x.shape
