"""From a seed to a generator of random numbers, never torch's global one: the same seed gives the same result."""

from typing import Any

import torch

from convscope.errors import ConvscopeError

LARGEST_SEED = 2**63 - 1  # what a torch.Generator takes


def seeded(seed: Any) -> torch.Generator:
    """A new generator on the CPU.

    Raises:
        ConvscopeError: no whole number from 0 to ``LARGEST_SEED``.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) <= LARGEST_SEED:
        raise ConvscopeError(f"seed={seed!r}: a seed is a whole number from 0 to {LARGEST_SEED}")
    return torch.Generator().manual_seed(int(seed))
