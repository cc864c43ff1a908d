"""A block in the middle of a training that leaves no trace: what follows is to the last bit as without it.

    the network      every module's flags, attributes, hooks, parameters, buffers, gradients   ``network/unchanged.py``
    random numbers   the global generators of torch (CPU and CUDA), numpy and ``random``       ``random_states.py``
                     generators that the network holds                                 ``network/held_generators.py``
    torch            gradient and inference mode, autocast, cuDNN's choice of algorithms

Inside, the network is in evaluation mode and computes in its own precision, whatever the step around it does: what is
seen does not depend on where in a loop the look is.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

from convscope.network.evaluation import evaluation
from convscope.network.held_generators import kept_generators
from convscope.network.unchanged import unchanged
from convscope.training.random_states import kept_random_states


@contextmanager
def undisturbed(model: nn.Module) -> Generator[None]:
    """Within the block the model can be run, in evaluation mode; after it everything is as it was, errors or not."""
    kinds = {parameter.device.type for parameter in model.parameters()} | {"cpu"}
    with (
        kept_random_states(), kept_generators(model), _repeatable_cudnn(), unchanged(model), evaluation(model),
        _full_precision(kinds),
    ):  # fmt: skip
        yield


@contextmanager
def _full_precision(kinds: set[str]) -> Generator[None]:
    kind, *others = sorted(kinds)
    if others:
        with torch.autocast(kind, enabled=False), _full_precision(set(others)):
            yield
    else:
        with torch.autocast(kind, enabled=False):
            yield


@contextmanager
def _repeatable_cudnn() -> Generator[None]:
    """It neither tries out algorithms for our sizes nor takes one whose sums come out in another order."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    try:
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
