"""Class pictures by the standard recipe: oracle is the real network itself, on moved and turned pictures."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from convscope.synthesis.maximisation import maximise
from convscope.synthesis.objectives import logit
from convscope.synthesis.recipes import STANDARD
from convscope.synthesis.steadiness import steady


def to_input(image: Tensor) -> Tensor:
    mean, std = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # ImageNet's
    return (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


def test_pictures_of_classes_are_taken_for_their_class_shifted_and_turned_too(squeezenet: nn.Module) -> None:
    """Zebra's logit has no gradient at the start: SqueezeNet ends in a rectifier."""
    classes = [340, 951]  # zebra, lemon
    generator = torch.Generator().manual_seed(0)
    *_, end = maximise(
        squeezenet,
        logit(classes),
        b=2,
        c=3,
        size=(160, 160),
        to_input=to_input,
        generator=generator,
        recipe=replace(STANDARD, steps=40),
    )
    saved = (end.image * 255).round() / 255
    for view in steady(saved).values():
        with torch.no_grad():
            probabilities = squeezenet(to_input(view)).softmax(1)[[0, 1], classes]
        assert (probabilities > 0.99).all()
