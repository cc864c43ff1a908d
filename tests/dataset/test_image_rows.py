"""Closed forms of the losses, and torch's cross-entropy in float64."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convscope.dataset.image_rows import ImageRow, ImageRows, answers_of, no_answers
from convscope.errors import ConvscopeError
from tests import nets

ONE_EACH = ((0,), (1,), (2,), (3,), (4,))


def logits(b: int = 6) -> torch.Tensor:
    return nets.images(b, 5, 1, 1)[:, :, 0, 0].float()


def test_one_right_class_is_cross_entropy():
    z, labels = logits(), [0, 3, 2, 2, 1, 4]
    found = answers_of(z, labels, ONE_EACH)
    expected = F.cross_entropy(z.double(), torch.tensor(labels), reduction="none")
    np.testing.assert_allclose(found.loss, expected, rtol=1e-12)
    np.testing.assert_array_equal(found.predicted, z.argmax(1))
    np.testing.assert_allclose(found.probability, z.double().softmax(1).amax(1), rtol=1e-12)
    np.testing.assert_array_equal(found.right_logit, [float(z[i, label]) for i, label in enumerate(labels)])


def test_several_right_classes_add_their_probabilities():
    z = logits(2)
    found = answers_of(z, [0, 1], ((1, 4), (2,)))
    p = z.double().softmax(1)
    np.testing.assert_allclose(found.loss, [-math.log(p[0, 1] + p[0, 4]), -math.log(p[1, 2])], rtol=1e-12)
    assert found.right_logit[0] == max(z[0, 1], z[0, 4])


def test_without_a_right_class_there_is_no_loss():
    found = answers_of(logits(3), [-1, 0, 1], ((), (2,)))
    assert np.isnan(found.loss[:2]).all()
    assert np.isnan(found.right_logit[:2]).all()
    assert np.isfinite(found.loss[2])
    assert (found.predicted >= 0).all()


def test_a_confident_loss_is_told_from_zero():
    z = torch.tensor([[30.0, 0.0], [29.0, 0.0], [0.0, 30.0]])
    found = answers_of(z, [0, 0, 1], ((0,), (1,)))
    np.testing.assert_allclose(found.loss, np.log1p(np.exp([-30.0, -29.0, -30.0])), rtol=0.2)
    assert found.loss[0] < found.loss[1]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_finite_predict_nothing(bad):
    z = logits(2)
    z[0, 2] = bad
    found = answers_of(z, [2, 2], ONE_EACH)
    assert found.predicted.tolist() == [-1, int(z[1].argmax())]
    assert np.isnan([found.loss[0], found.probability[0], found.right_logit[0]]).all()
    np.testing.assert_array_equal(found.loss[1:], answers_of(z[1:], [2], ONE_EACH).loss)


def test_a_class_that_is_ruled_out_does_no_harm():
    z = logits(1)
    z[0, 2] = -math.inf
    found = answers_of(z, [0], ONE_EACH)
    rest = z[:, [0, 1, 3, 4]].double()
    np.testing.assert_allclose(found.loss, F.cross_entropy(rest, torch.tensor([0]), reduction="none"))
    assert answers_of(z, [2], ONE_EACH).loss[0] == math.inf


def test_a_right_class_that_the_network_lacks_is_refused():
    with pytest.raises(ConvscopeError, match="class 1 is class 9 of the network, whose output has 5 classes"):
        answers_of(logits(2), [0, 1], ((0,), (9,)))


def test_rows_come_ordered_and_back():
    seen = ImageRow(7, 2, bytes(range(16)), (12, 10), 3, 0.5, 0.25, 4.0)
    refused = ImageRow(3, refused="no picture: é")
    rows = ImageRows.of([seen, refused])
    assert rows.number.tolist() == [3, 7]
    assert rows.refused == {3: "no picture: é"}
    assert rows.predicted.tolist() == [-1, 3]
    assert rows.digest[1].tobytes() == bytes(range(16))
    assert rows.input_size.tolist() == [[0, 0], [12, 10]]
    again = ImageRows.from_tensors(rows.tensors())
    assert again.refused == rows.refused
    for name, values in rows.tensors().items():
        np.testing.assert_array_equal(again.tensors()[name], values)
        assert again.tensors()[name].dtype == values.dtype


def test_no_rows_have_the_same_columns():
    empty, one = ImageRows.of([]).tensors(), ImageRows.of([ImageRow(0)]).tensors()
    assert {name: (t.dtype, t.shape[1:]) for name, t in empty.items()} == {
        name: (t.dtype, t.shape[1:]) for name, t in one.items()
    }
    assert len(ImageRows.of([])) == 0


def test_a_network_without_logits_answers_nothing():
    found = no_answers(2)
    assert found.predicted.tolist() == [-1, -1]
    assert np.isnan(found.loss).all()
