"""What the friendly calls take: a ``Network`` of one of the hard nets, and a photo."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from tests import nets

CLASSES = ("tabby", "king penguin", "Lion", "crane", "crane")
PREPROCESS = Preprocess(size=12, crop=12, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3))


def network(
    factory: Callable[..., nn.Module] = nets.gap_linear,
    *,
    classes: Sequence[str] = CLASSES,
    dtype: torch.dtype = torch.float32,
    name: str = "a small net",
    preprocess=PREPROCESS,
    **options,
) -> Network:
    """A watched hard net with five class names, two of which are alike, for photos of 12 x 12."""
    return Network(factory(dtype=dtype, **options), preprocess, tuple(classes), name)


def photo(width: int = 20, height: int = 16, seed: int = 0) -> Image.Image:
    """Smooth colours, so that resizing leaves some structure."""
    rough = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
