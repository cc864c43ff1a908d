"""A batch taken apart into its images, and one image's versions as a batch: against the network called by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from convscope.attribution import gradient
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.questions import questions, top_class
from tests import nets


@pytest.mark.parametrize("target", [None, 2, [0, 3, 1], lambda out: out[:, 4]])
def test_versions_of_each_image_are_asked_about_its_own_target(target: Any) -> None:
    net, x, versions = nets.plain(), nets.images(3), nets.images(4, seed=9)
    asked = questions(net, x, target=target)
    assert len(asked) == 3
    for i, ask in enumerate(asked):
        own = net(x[i : i + 1]).argmax(1).item() if target is None else target[i] if isinstance(target, list) else 2
        expected = net(versions)[:, 4 if callable(target) else own].detach()
        with evaluation(net):
            found = ask(versions)
        assert torch.equal(ask.image, x[i : i + 1])
        assert torch.equal(found, expected)
        assert not found.requires_grad


def test_the_others_of_several_inputs_are_the_images_own_and_repeat() -> None:
    net, image, words = nets.two_inputs(), nets.images(2), nets.images(2, 1, 1, 4).reshape(2, 4)
    versions = nets.images(3, seed=9)
    given: list[Any] = [(image, words), {"image": image, "words": words}]
    for x, wrt in zip([*given, given[1]], [0, 0, "image"], strict=True):
        for i, ask in enumerate(questions(net, x, target=1, wrt=wrt)):
            inputs = ask.about(versions)
            every: list[Tensor] = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
            assert torch.equal(every[0], versions)
            assert torch.equal(every[1], words[i : i + 1].expand(3, 4))
            assert torch.equal(ask(versions), net(versions, words[i : i + 1].expand(3, 4))[:, 1].detach())


def test_the_top_class_is_that_of_the_whole_image_in_evaluation_mode() -> None:
    net, x = nets.norm_dropout(train=True), nets.images(4)
    expected = nets.norm_dropout()(x).argmax(1).tolist()
    assert [ask.target for ask in questions(net, x)] == expected
    assert top_class(nets.norm_dropout()(x)).tolist() == expected


@pytest.mark.parametrize(
    ("x", "options", "says"),
    [
        (nets.images(2), {"target": [1]}, "1 targets for 2 images"),
        (nets.images(2)[:0], {}, "a batch of no images"),
        (nets.images(2)[0], {}, r"has shape \(3, 12, 12\); it must be"),
        ((nets.images(2), torch.zeros(3, 4)), {}, r"an input of shape \(3, 4\) beside 2 images"),
        ((nets.images(2), torch.tensor(1.0)), {}, r"an input of shape \(\) beside 2 images"),
        ((nets.images(2),), {"wrt": 1}, "no input 1"),
        ({"image": nets.images(2), "words": None}, {}, "beside the images is a NoneType"),
    ],
)
def test_what_does_not_fit_is_refused(x: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        questions(nets.plain(), x, **options)


@pytest.mark.parametrize("target", [2, [0, 3, 1], "conv2:1"])
def test_the_gradient_of_each_version_is_its_own(target: Any) -> None:
    """Oracle: the method of that name on the versions as a batch."""
    net, x, versions = nets.plain(), nets.images(3), nets.images(4, seed=9)
    for i, ask in enumerate(questions(net, x, target=target)):
        own = target[i] if isinstance(target, list) else target
        with evaluation(net):
            assert torch.equal(ask.gradient(versions), gradient(net, versions, target=own))
    with evaluation(net), pytest.raises(ConvscopeError, match="does not depend on the input"):
        questions(net, x, target=lambda out: net.get_parameter("linear2.bias")[: len(out)] * 1)[0].gradient(x[:1])
