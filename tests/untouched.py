"""The model is as it was: what a module and the process look like, and how that differs from before.

``watch(module)`` remembers a module as it stands; the autouse fixture ``untouched`` in ``conftest.py`` compares
every watched one at the end of the test. Nets from ``tests/nets.py`` watch themselves. A test that changes its
own net on purpose (freezes it, switches it to train mode) calls ``watch`` again after the change.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
import torch
import torch.nn.modules.module as torch_module
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
_watched: dict[int, tuple[nn.Module, dict[str, Any]]] = {}


@dataclass(frozen=True)
class _Bits:
    """A tensor's identity and its value at one moment, NaN equal to NaN."""

    owner: Tensor
    copy: Tensor

    @classmethod
    def of(cls, tensor: Tensor | None) -> "_Bits | None":
        return None if tensor is None else cls(tensor, tensor.detach().clone())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Bits) or self.owner is not other.owner or self.copy.dtype != other.copy.dtype:
            return False
        return torch.equal(_bytes(self.copy), _bytes(other.copy))

    def __repr__(self) -> str:
        return f"{self.copy.dtype} {tuple(self.copy.shape)} with sum {self.copy.double().sum():.17g}"


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def watch(module: M) -> M:
    """Remember ``module`` as it is now, in place of what was remembered before; returns it."""
    _watched[id(module)] = (module, look_at(module))
    return module


def forget_all() -> None:
    _watched.clear()


def traces() -> list[str]:
    """One line for everything that is not as it was in any watched module."""
    return [
        f"{type(module).__name__}: {line}"
        for module, before in _watched.values()
        for line in differences(before, look_at(module))
    ]


def look_at(module: nn.Module) -> dict[str, Any]:
    """Everything a method could leave behind in ``module``, by a name that says where."""
    seen: dict[str, Any] = {}
    for path, part in module.named_modules():
        place = path or "the root"
        seen[f"{place}: class"] = type(part)
        seen[f"{place}: training"] = part.training
        seen[f"{place}: attributes"] = frozenset(vars(part))
        for name, value in vars(part).items():
            if name.endswith("_hooks"):
                seen[f"{place}: {name}"] = dict(value)
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        seen[f"{path}: value"] = _Bits.of(tensor)
        seen[f"{path}: requires_grad"] = tensor.requires_grad
        seen[f"{path}: grad"] = _Bits.of(tensor.grad)
        seen[f"{path}: tensor hooks"] = dict(tensor._backward_hooks or {})
        seen[f"{path}: grad hooks"] = dict(getattr(tensor, "_post_accumulate_grad_hooks", None) or {})
    return seen


def look_around(*, random_state: bool = True) -> dict[str, Any]:
    """The process-wide state of torch that a library must leave alone."""
    seen: dict[str, Any] = {
        "grad enabled": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn deterministic": torch.backends.cudnn.deterministic,
        "cudnn benchmark": torch.backends.cudnn.benchmark,
        "threads": torch.get_num_threads(),
        "torch.nn.functional.relu": torch.nn.functional.relu,
    }
    for name, value in vars(torch_module).items():
        if name.startswith("_global_") and name.endswith("_hooks") and isinstance(value, dict):
            seen[name] = dict(value)
    if random_state:
        seen["torch's global random state"] = bytes(torch.get_rng_state().numpy())
    return seen


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """``["relu: training was False, is True", ...]``; long values are left out."""
    names = [*before, *(name for name in after if name not in before)]
    absent = "absent"
    return [
        f"{name} was {_short(before.get(name, absent))}, is {_short(after.get(name, absent))}"
        for name in names
        if before.get(name, absent) != after.get(name, absent)
    ]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:60]} ... {text[-40:]}"


class Untouched:
    """What a test may say to the autouse fixture of the same name."""

    watch = staticmethod(watch)

    @staticmethod
    def check() -> None:
        """Fail now, not at the end of the test, if a watched module is not as it was."""
        if left := traces():
            pytest.fail("the model is not as it was:\n  " + "\n  ".join(left), pytrace=False)
