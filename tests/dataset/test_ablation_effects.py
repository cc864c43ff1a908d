"""Effects of ablation. Oracles: a loop over images in plain Python; any split into batches gives the same counts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convscope.dataset.ablation_effects import EffectSums, answers, outcome


def by_hand(before, after, labels, right, classes):
    """The definitions, one image and one set at a time."""
    sets = len(after)
    sums = {name: np.zeros((sets, classes)) for name in ("right_without", "won", "changed", "finite", "logit", "p")}
    images, correct = np.zeros(classes), np.zeros(classes)

    def score(z, r):
        return math.log(sum(math.exp(z[c]) for c in r)), sum(math.exp(z[c]) for c in r) / sum(map(math.exp, z))

    for i, (z, label) in enumerate(zip(before.tolist(), labels, strict=True)):
        was = z.index(max(z)) in right[i]
        images[label] += 1
        correct[label] += was
        for k in range(sets):
            other = after[k, i].tolist()
            if not all(map(math.isfinite, other)):
                sums["changed"][k, label] += 1
                continue
            now = other.index(max(other)) in right[i]
            sums["right_without"][k, label] += now
            sums["won"][k, label] += now and not was
            sums["changed"][k, label] += other.index(max(other)) != z.index(max(z))
            sums["finite"][k, label] += 1
            (s, p), (s_now, p_now) = score(z, right[i]), score(other, right[i])
            sums["logit"][k, label] += s - s_now
            sums["p"][k, label] += p - p_now
    return images, correct, sums


@given(st.integers(0, 2**31), st.integers(1, 12), st.data())
def test_sums_equal_a_loop_however_images_and_sets_are_split(seed: int, count: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    before = 2 * torch.randn(count, 4, generator=generator, dtype=torch.float64)
    after = before + torch.randn(3, count, 4, generator=generator, dtype=torch.float64)
    after[0, 0, 1] = torch.nan
    labels = torch.randint(0, 2, (count,), generator=generator).numpy()
    right = [(0,) if label == 0 else (1, 3) for label in labels]
    is_right = torch.tensor([[c in r for c in range(4)] for r in right])
    total = EffectSums(3, 2)
    cuts = sorted(data.draw(st.sets(st.integers(1, count - 1)))) if count > 1 else []
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        part, here = EffectSums(3, 2), slice(start, stop)
        right_before = is_right[here].gather(1, answers(before[here])[:, None])[:, 0]
        part.begin(labels[here], right_before.numpy())
        for first, last in ((0, 1), (1, 3)):
            part.update(first, labels[here], outcome(before[here], after[first:last, here], is_right[here]))
        total.merge(EffectSums.from_tensors(part.tensors()))
    effects, (images, correct, sums) = total.compute(), by_hand(before, after, labels, right, 2)
    np.testing.assert_array_equal(effects.images, images)
    np.testing.assert_array_equal(effects.right, correct)
    for name in ("right_without", "won", "changed", "finite"):
        np.testing.assert_array_equal(getattr(effects, name), sums[name], err_msg=name)
    np.testing.assert_allclose(effects.logit_drop, sums["logit"], rtol=0, atol=1e-10)
    np.testing.assert_allclose(effects.probability_drop, sums["p"], rtol=0, atol=1e-10)
    np.testing.assert_array_equal(effects.wrong_now - effects.won, correct - sums["right_without"])


def of_counts(images, right, right_without) -> EffectSums:
    sums = EffectSums(len(right_without), len(images))
    sums.sums.images[:], sums.sums.right[:], sums.sums.right_without[:] = images, right, right_without
    sums.sums.finite[:] = images
    return sums


def test_shares_are_points_and_a_class_without_an_image_has_none() -> None:
    effects = of_counts([4, 0, 6], [3, 0, 6], [[3, 0, 5], [4, 0, 6]]).compute()
    assert effects.accuracy == pytest.approx(0.9)
    np.testing.assert_allclose(effects.lost, [10, -10])
    np.testing.assert_allclose(effects.lost_by_class, [[0, np.nan, 100 / 6], [-25, np.nan, 0]])
    np.testing.assert_allclose(effects.accuracy_by_class, [0.75, np.nan, 1])


def test_ranked_by_accuracy_then_by_the_logit_then_by_place() -> None:
    sums = of_counts([10], [8], [[8], [6], [8], [8]])
    sums.sums.logit_drop[:, 0] = [1.0, 0.0, 2.0, 1.0 + 1e-9]
    assert sums.compute().ranking().tolist() == [1, 2, 0, 3]
