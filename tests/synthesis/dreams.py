"""A photo, a seed and a run of DeepDream, for its tests."""

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from convscope.synthesis.dreaming import DreamStep, dream_steps, octave_sizes
from convscope.synthesis.objectives import Objective
from tests import nets


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(b: int = 1, h: int = 23, w: int = 30, c: int = 3, *, seed: int = 0, dtype=torch.float64) -> Tensor:
    """Within [0, 1], some of it black and white."""
    return (0.5 + 0.35 * nets.images(b, c, h, w, seed=seed, dtype=dtype)).clamp(0, 1)


def to_input(image: Tensor) -> Tensor:
    mean, std = (torch.tensor(v, dtype=image.dtype)[:, None, None] for v in ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3)))
    return (image - mean) / std


def run(net: nn.Module, objective: Objective, photo: Tensor, octaves: int = 3, **options: Any) -> list[DreamStep]:
    sizes = octave_sizes((photo.shape[2], photo.shape[3]), octaves)
    given = {"to_input": to_input, "generator": seeded(), "steps": 4, "jitter": 5, "sizes": sizes} | options
    return list(dream_steps(net, objective, photo, **given))


def starts_and_ends(steps: list[DreamStep]) -> list[tuple[Tensor, Tensor]]:
    octaves = [list(group) for _, group in itertools.groupby(steps, lambda step: step.octave)]
    return [(octave[0].scores, octave[-1].scores) for octave in octaves]
