"""Random numbers of a training: those of one epoch follow from the seed and the epoch alone, and nobody else's change.

    state(seed, epoch)  =  the first 8 bytes of SHA-256("convscope training, SEED, EPOCH"), without the highest bit

Everything that draws is seeded with it as the epoch begins: the order of the images, their shifts, and the global
generators of torch (on every device), numpy and ``random``, from which dropouts and users' own layers draw, and those
that the network holds as it begins. So no random state has to be kept in a checkpoint: a training that was killed and
goes on at epoch 7 draws what an unbroken one draws in epoch 7, whatever was drawn before. At the block's end all of
them go on as if nothing had been drawn, of torch's those of the CPU and CUDA.
"""

import hashlib
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from convscope.network.held_generators import Held, held_generators, kept_generators

SEEDS_OF_NUMPY = 2**32


@contextmanager
def kept_random_states() -> Generator[None]:
    """After the block the global generators of torch, CUDA, numpy and ``random`` are as they were before it."""
    # not asked for on a machine where CUDA was not begun: asking begins it
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    ours, theirs = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(theirs)


@contextmanager
def randomness_of(seed: int, epoch: int, *holders: Any) -> Generator[torch.Generator]:
    """Within the block every generator is at the state of that epoch; gives one for the training's own draws.

    Epoch 0 is before training: a network's first weights. ``holders`` are things with generators of their own.
    """
    state = state_of(seed, epoch)
    with kept_random_states(), kept_generators(*holders):
        torch.manual_seed(state)
        np.random.seed(state % SEEDS_OF_NUMPY)
        random.seed(state)
        for number, held in enumerate(held_generators(*holders), start=1):
            _seed(held, state + number)
        yield torch.Generator().manual_seed(state)


def _seed(held: Held, state: int) -> None:
    if isinstance(held, torch.Generator):
        held.manual_seed(state)
    elif isinstance(held, np.random.Generator):
        held.bit_generator.state = type(held.bit_generator)(state).state
    elif isinstance(held, np.random.RandomState):
        held.seed(state % SEEDS_OF_NUMPY)
    else:
        held.seed(state)


def state_of(seed: int, epoch: int) -> int:
    """Of 63 bits; see the module's docstring."""
    digest = hashlib.sha256(f"convscope training, {seed}, {epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
