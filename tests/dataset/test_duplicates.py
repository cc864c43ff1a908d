"""Duplicates: oracle a loop over all pairs of units, and of their exemplars."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from convscope.dataset import duplicates
from convscope.dataset.duplicates import duplicate_units, shared_images


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    pixels = [{(y, x) for y in range(b[0], b[2]) for x in range(b[1], b[3])} for b in (one, other)]
    return len(pixels[0] & pixels[1]) / max(1, len(pixels[0] | pixels[1]))


def slowly(images: np.ndarray, boxes: np.ndarray) -> list[tuple[int, int, int]]:
    def shared(u: int, v: int) -> int:
        return sum(
            any(i == j and overlap(a, b) >= 0.5 for j, b in zip(images[v], boxes[v], strict=True))
            for i, a in zip(images[u], boxes[u], strict=True)
            if i >= 0
        )

    found = []
    for u in range(len(images)):
        for v in range(u + 1, len(images)):
            common = min(shared(u, v), shared(v, u))
            fewest = min((images[u] >= 0).sum(), (images[v] >= 0).sum())
            if common >= max(2, 0.5 * fewest):
                found.append((u, v, common))
    return found


@given(st.integers(0, 2**32 - 1))
def test_as_a_loop_over_all_pairs_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    images = np.sort(random.integers(-1, 6, (7, 4)), axis=1)[:, ::-1]
    start = random.integers(0, 3, (7, 4, 2))
    boxes = np.concatenate([start, start + random.integers(1, 4, (7, 4, 2))], 2)
    assert list(duplicate_units(images, boxes, 100)) == slowly(images, boxes)


def test_with_few_images_nothing_is_told() -> None:
    images, boxes = np.tile([0, 1], (3, 1)), np.tile([0, 0, 8, 8], (3, 2, 1))
    assert list(duplicate_units(images, boxes, 7)) == []
    assert list(duplicate_units(images, boxes, 8)) == [(0, 1, 2), (0, 2, 2), (1, 2, 2)]


@given(st.integers(0, 2**32 - 1))
def test_the_images_in_common_are_those_of_the_crops_in_common(seed: int) -> None:
    random = np.random.default_rng(seed)
    images, start = random.integers(-1, 4, (2, 4)), random.integers(0, 4, (2, 4, 2))
    boxes = np.concatenate([start, start + random.integers(1, 4, (2, 4, 2))], 2)
    pairs = [(i, a, j, b) for i, a in zip(images[0], boxes[0]) for j, b in zip(images[1], boxes[1])]  # noqa: B905
    assert shared_images(images, boxes, 0, 1) == sorted(
        {int(i) for i, a, j, b in pairs if i == j >= 0 and overlap(a, b) >= 0.5}
    )


def test_an_image_of_which_two_units_have_crops_apart_is_not_shared() -> None:
    images = np.array([[0, 1, 2], [0, 1, 2]])
    boxes = np.tile([0, 0, 4, 4], (2, 3, 1))
    boxes[1, 2] += 4
    assert list(duplicate_units(images, boxes, 100)) == [(0, 1, 2)]
    assert shared_images(images, boxes, 0, 1) == [0, 1]


def test_many_crops_of_one_image_take_little_memory() -> None:
    """All pairs at once would be 5,184 x 5,184 numbers, 215 MB of each kind."""
    units, top = 576, 9
    random = np.random.default_rng(0)
    start = random.integers(0, 200, (units, top, 2))
    start[1] = start[0]
    boxes = np.concatenate([start, start + 24], 2)
    tracemalloc.start()
    found = list(duplicate_units(np.zeros((units, top), int), boxes, 100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (0, 1, top) in found
    assert peak < 120e6


def test_blocks_of_pairs_change_nothing(monkeypatch) -> None:
    random = np.random.default_rng(1)
    images, start = random.integers(-1, 3, (9, 5)), random.integers(0, 3, (9, 5, 2))
    boxes = np.concatenate([start, start + random.integers(1, 4, (9, 5, 2))], 2)
    for pairs in (1, 30, 2**20):
        monkeypatch.setattr(duplicates, "PAIRS", pairs)
        assert list(duplicate_units(images, boxes, 100)) == slowly(images, boxes)
