"""What torch is told while a network is trained, and told back at the end.

Gradients are on and inference mode is off, whatever surrounds; the modules' training flags come back. Torch computes
each operation with a fixed number of threads, and CUDA by algorithms that add in one order (``cudnn.deterministic``,
``use_deterministic_algorithms``); where an operation has none, torch's own warning says so.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn

# cuBLAS adds in one order only with a workspace of its own (NVIDIA, cuBLAS library, "Results reproducibility")
CUBLAS, ITS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


@contextmanager
def training_surroundings(net: nn.Module, threads: int) -> Generator[None]:
    """Within the block ``net`` can be trained, repeatably."""
    flags = {module: module.training for module in net.modules() if hasattr(module, "training")}
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(False), torch.enable_grad(), _repeatable(net):
            yield
    finally:
        torch.set_num_threads(threads_before)
        for module, flag in flags.items():
            module.training = flag


@contextmanager
def _repeatable(net: nn.Module) -> Generator[None]:
    if not any(each.is_cuda for each in net.parameters()):
        yield
        return
    os.environ.setdefault(CUBLAS, ITS_WORKSPACE)
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    mode, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.deterministic, cudnn.benchmark = True, False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before
        torch.use_deterministic_algorithms(mode, warn_only=warns)
