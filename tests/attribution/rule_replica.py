"""Backward rules without hooks and without the recorded graph: each rectifier call is replaced by a hand-written one.

A ``TorchFunctionMode`` sees every call of ``F.relu``, ``x.relu_()``, ``F.hardtanh``, ``clamp`` and so on, from
modules or from code, and puts an ``autograd.Function`` in its place whose backward is the rule, term by term:

    guided     R * 1[low < x < high] * 1[R > 0]    low = 0; Springenberg et al. 2014
    deconv     R * 1[R > 0]                        Zeiler & Fergus 2014

An in-place rectifier becomes one that is not: right for every net that goes on with what the call returned.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
CLAMPS = {torch.clamp, torch.clamp_, Tensor.clamp, Tensor.clamp_}


class _Rectifier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: float, high: float, rule: str) -> Tensor:
        ctx.save_for_backward(x)
        ctx.low, ctx.high, ctx.rule = low, high, rule
        return torch.where(x > low, x, 0).clamp(max=high)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        gate = 1 if ctx.rule == "deconv" else (x > ctx.low) * (x < ctx.high)
        return r * gate * (r > 0), None, None, None


class Rule(TorchFunctionMode):
    """Within the block every rectifier that is called goes back by ``rule``; ``count`` says how many there were."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule, self.count = rule, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        bounds = _bounds(func, args, kwargs or {})
        if bounds is None:
            return func(*args, **(kwargs or {}))
        self.count += 1
        return _Rectifier.apply(args[0], *bounds, self.rule)


def _bounds(func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[float, float] | None:
    """Between which values a rectifier passes its input on; None for a call of anything else."""
    given = dict(enumerate(args)) | options
    if func in RELUS:
        return 0.0, math.inf
    if func is F.relu6:
        return 0.0, 6.0
    if func is F.hardtanh:
        low, high = given.get(1, given.get("min_val", -1.0)), given.get(2, given.get("max_val", 1.0))
        return (0.0, float(high)) if low == 0 else None
    if func is F.threshold:
        low, otherwise = given.get(1, given.get("threshold")), given.get(2, given.get("value"))
        return (float(low), math.inf) if otherwise == 0 else None
    if func in CLAMPS:
        low, high = given.get(1, given.get("min")), given.get(2, given.get("max"))
        return (0.0, math.inf if high is None else float(high)) if low == 0 else None
    return None


def signal_at_input(model: nn.Module, x: Tensor, score: Callable[[Any], Tensor], rule: str) -> tuple[Tensor, int]:
    """What arrives at the pixels, and how many rectifiers it went through."""
    image = x.detach().clone().requires_grad_()
    with torch.enable_grad(), Rule(rule) as mode:
        scores = score(model(image.clone()))
    (signal,) = torch.autograd.grad(scores.sum(), image)
    return signal, mode.count
