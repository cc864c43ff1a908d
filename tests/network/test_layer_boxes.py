"""Boxes and fields of many layers: oracle one walk for one activation at a time, and the published figures."""

import numpy as np
import pytest
import torch

from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.layer_boxes import layer_views
from convscope.network.receptive_fields import receptive_boxes, receptive_field
from convscope.network.taps import tap
from tests import nets


@pytest.mark.parametrize("factory", [nets.plain, nets.gap_linear])
def test_as_one_layer_at_a_time(factory) -> None:
    net = factory()
    x = nets.images()
    names = ["conv1", "conv2"]
    views = layer_views(net, names, tuple(x.shape[2:]), x)
    image = torch.zeros_like(x[:1]).requires_grad_()
    with evaluation(net), tap(net, *names) as seen:
        net(image.clone())
        for name in names:
            assert np.array_equal(views[name].boxes, receptive_boxes(seen[name], image))
            assert views[name].field == receptive_field(seen[name], image)
            assert views[name].shape == tuple(seen[name].shape[1:])
    assert list(views) == names


def test_squeezenets_published_fields_though_its_rectifiers_write_in_place(squeezenet) -> None:
    layers = ["features.0", "features.3.squeeze", "classifier.1"]
    views = layer_views(squeezenet, layers, (224, 224), torch.zeros(1, 3, 1, 1))
    assert [view.field.size[0] for view in views.values()] == [7, 11, 155]
    assert views["features.0"].boxes[0, 0].tolist() == [0, 0, 7, 7]
    assert views["features.0"].type == "Conv2d"
    y, x = np.array([[3, 0], [5, 2]]), np.array([[1, 0], [2, 2]])
    assert views["features.0"].boxes_at(y, x)[1, 0].tolist() == [10, 4, 17, 11]


def test_a_vector_has_one_box() -> None:
    net, x = nets.gap_linear(), nets.images()
    (view,) = layer_views(net, ["linear"], tuple(x.shape[2:]), x).values()
    assert view.field is None
    assert view.boxes_at(np.array([0]), np.array([0])).tolist() == [[0, 0, *x.shape[2:]]]


def test_a_misspelt_layer_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConvscopeError, match="did you mean 'conv1'"):
        layer_views(nets.plain(), ["conv11"], (12, 12), nets.images())
