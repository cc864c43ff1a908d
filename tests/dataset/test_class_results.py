"""The oracle is a plain loop over the rows, sorted in full."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.dataset.class_results import ClassResults
from convscope.dataset.image_rows import ImageRow, ImageRows

RIGHTS = ((0,), (1, 3), (), (2,))  # data class 2 is none of the network's


@st.composite
def rows(draw):
    count = draw(st.integers(0, 25))
    found = []
    for number in range(count):
        label, predicted = draw(st.integers(-1, 3)), draw(st.integers(-1, 5))
        row = ImageRow(number, label, predicted=predicted)
        if predicted >= 0 and label >= 0 and RIGHTS[label]:
            loss, logit = draw(st.sampled_from([0.0, 0.5, 2.0])), draw(st.sampled_from([-1.0, 3.0]))
            row = replace(row, loss=loss, right_logit=logit)
        elif predicted < 0 and draw(st.booleans()):
            row = replace(row, refused="unreadable")
        found.append(row)
    return found


def in_a_loop(found: list[ImageRow], top: int, suspects: int):
    confusion: dict[tuple[int, int], int] = {}
    classes = []
    judged = [r for r in found if not math.isnan(r.loss)]
    for r in found:
        if r.label >= 0 and r.predicted >= 0:
            confusion[r.label, r.predicted] = confusion.get((r.label, r.predicted), 0) + 1
    for number, right in enumerate(RIGHTS):
        mine = [r for r in judged if r.label == number]
        least = sorted(mine, key=lambda r: (r.loss, r.number))[:top]
        largest = sorted(mine, key=lambda r: (-r.right_logit, r.number))[:top]
        classes.append(
            (
                sum(r.label == number and not r.refused for r in found),
                len(mine),
                sum(r.predicted in right for r in mine),
                tuple((r.number, r.loss) for r in least),
                tuple((r.number, r.right_logit) for r in largest),
            )
        )
    worst = sorted(judged, key=lambda r: (-r.loss, r.number))[:suspects]
    return classes, dict(sorted(confusion.items())), tuple((r.number, r.loss) for r in worst)


@settings(max_examples=150)
@given(rows(), st.integers(0, 25), st.integers(0, 25), st.booleans(), st.permutations(range(3)))
def test_any_split_in_any_order_gives_what_a_loop_over_the_rows_gives(found, first, second, merged, order):
    cuts = [0, *sorted(min(cut, len(found)) for cut in (first, second)), len(found)]
    parts = [ImageRows.of(found[a:b]) for a, b in pairwise(cuts)]
    parts = [parts[i] for i in order]
    whole = ClassResults(RIGHTS, top=3, suspects=5)
    for part in parts:
        if merged:
            other = ClassResults(RIGHTS, top=3, suspects=5)
            other.update(part)
            whole.merge(other)
        else:
            whole.update(part)
    table = whole.compute()
    classes, confusion, suspects = in_a_loop(found, 3, 5)
    assert [(c.images, c.judged, c.right, c.least_loss, c.largest_logit) for c in table.classes] == classes
    assert table.confusion == confusion
    assert list(table.confusion) == sorted(confusion)
    assert table.suspects == suspects


def test_accuracy_and_mean_loss():
    found = ClassResults(RIGHTS)
    found.update(
        ImageRows.of(
            [
                ImageRow(0, 1, predicted=3, loss=0.5, right_logit=1.0),
                ImageRow(1, 1, predicted=0, loss=1.5, right_logit=2.0),
                ImageRow(2, 0, predicted=0, loss=0.25, right_logit=2.0),
                ImageRow(3, 2, predicted=0),
            ]
        )
    )
    table = found.compute()
    assert table.classes[1].accuracy == 0.5
    assert table.classes[1].mean_loss == 1.0
    assert table.accuracy == pytest.approx(2 / 3)
    assert math.isnan(table.classes[2].accuracy)
    assert math.isnan(table.classes[2].mean_loss)
    assert table.classes[2].images == 1


def test_without_labels_there_is_nothing():
    found = ClassResults(())
    found.update(ImageRows.of([ImageRow(0, predicted=3), ImageRow(1, refused="unreadable")]))
    table = found.compute()
    assert (table.classes, table.confusion, table.suspects) == ((), {}, ())
    assert math.isnan(table.accuracy)


def test_memory_goes_with_classes_not_images():
    found = ClassResults(RIGHTS, top=2, suspects=3)
    for start in range(0, 3000, 100):
        batch = [ImageRow(start + i, 0, predicted=0, loss=float(start + i), right_logit=1.0) for i in range(100)]
        found.update(ImageRows.of(batch))
    assert len(found._least_loss._images) == len(found._largest_logit._images) == 2
    assert found.compute().suspects == tuple((number, float(number)) for number in (2999, 2998, 2997))
    assert found.compute().confusion == {(0, 0): 3000}
    assert np.isclose(found.compute().classes[0].mean_loss, 1499.5)
