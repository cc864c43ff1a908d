"""Seeds."""

from typing import Any

import pytest
import torch

from convscope.errors import ConvscopeError
from convscope.seeds import LARGEST_SEED, seeded


@pytest.mark.parametrize("seed", [0, 7, LARGEST_SEED, torch.tensor(7)])
def test_a_seed_gives_the_numbers_of_a_generator_of_that_seed(seed: Any) -> None:
    """Oracle: torch's own generator."""
    expected = torch.Generator().manual_seed(int(seed))
    assert torch.equal(torch.rand(3, generator=seeded(seed)), torch.rand(3, generator=expected))


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 10**23, "a", 1.5, True, None])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ConvscopeError, match="a seed is a whole number from 0 to 9223372036854775807"):
        seeded(seed)
