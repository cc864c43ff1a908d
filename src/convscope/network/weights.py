"""Weights from a file into a module: safetensors, or a checkpoint that holds tensors and nothing else.

A pickle can run any code when it is opened, so ``.pt`` files are read with ``weights_only``; a pickled model is
refused unless the caller trusts it (``--trust-pickle``). Wrappings that training scripts leave are undone:
``{"state_dict": ...}`` or ``{"model": ...}`` around the tensors, ``module.``, ``model.`` or ``_orig_mod.`` before
their names. Missing, surplus or misshapen tensors are errors, never a partial load.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError

_WRAPPED_IN = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "_orig_mod.")


def read_weights(file: Path, *, trust_pickle: bool = False) -> dict[str, Tensor] | nn.Module:
    """The tensors in ``file`` by name; with ``trust_pickle`` also a whole pickled model.

    Raises:
        ConvscopeError: no such file, neither format, or a pickle with more than tensors.
    """
    if not file.is_file():
        raise ConvscopeError(f"no weights file at {file}")
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise ConvscopeError(f"{file} is no readable safetensors file: {error}") from error
    return _unwrapped(_read_checkpoint(file, trust_pickle), file)


def _read_checkpoint(file: Path, trust_pickle: bool) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if not trust_pickle and "weights_only" in str(error).lower().replace("weights only", "weights_only"):
            raise ConvscopeError(
                f"{file} holds pickled objects, not only tensors; opening it can run any code. Save its state_dict() "
                "as .safetensors, or, if you trust where it came from, say so: --trust-pickle (trust_pickle=True)"
            ) from error
        raise ConvscopeError(f"{file} is no readable checkpoint: {error}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        raise ConvscopeError(f"{file} is no readable checkpoint: {_first_line(error)}") from error


def _unwrapped(content: Any, file: Path) -> dict[str, Tensor] | nn.Module:
    for _ in range(2):  # {"model": {"state_dict": ...}} exists
        if isinstance(content, Mapping):
            content = next(
                (content[k] for k in _WRAPPED_IN if isinstance(content.get(k), Mapping | nn.Module)), content
            )
    if isinstance(content, nn.Module):
        return content
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()) or not content:
        what = (
            f"the entries {', '.join(map(str, list(content)[:6]))}" if isinstance(content, Mapping) else type(content)
        )
        raise ConvscopeError(f"{file} holds no state dict of tensors, but {what}")
    return {str(k): v for k, v in content.items()}


def load_into(module: nn.Module, weights: Mapping[str, Tensor], file: Path) -> None:
    """Copy ``weights`` into ``module``, all of them, after taking wrappers' prefixes off.

    Raises:
        ConvscopeError: a tensor is missing, left over or of another shape; ``module`` is then unchanged.
    """
    expected = module.state_dict()
    given = _without_prefixes(weights, set(expected))
    missing = [k for k in expected if k not in given and not k.endswith("num_batches_tracked")]
    surplus = [k for k in given if k not in expected]
    if missing or surplus:
        parts = [_some("missing", missing), _some("not in the network", surplus)]
        raise ConvscopeError(f"{file} does not fit {type(module).__name__}: {'; '.join(p for p in parts if p)}")
    wrong = [
        f"{k} {tuple(v.shape)} instead of {tuple(expected[k].shape)}"
        for k, v in given.items()
        if v.shape != expected[k].shape
    ]
    if wrong:
        raise ConvscopeError(
            f"{file} does not fit {type(module).__name__}: {_some('shapes', wrong)}{_class_hint(given, expected)}"
        )
    tracked = {k: v for k, v in expected.items() if k.endswith("num_batches_tracked")}
    module.load_state_dict(tracked | given)


def class_count(weights: Mapping[str, Tensor]) -> int | None:
    """How many classes the last bias or matrix in a state dict makes: None where there is neither."""
    last = [v for v in weights.values() if v.ndim in (1, 2, 4)]
    return int(last[-1].shape[0]) if last else None


def _without_prefixes(weights: Mapping[str, Tensor], expected: set[str]) -> dict[str, Tensor]:
    given = dict(weights)
    for _ in _PREFIXES:  # they nest: module._orig_mod.
        for prefix in _PREFIXES:
            if given and all(k.startswith(prefix) for k in given) and not any(k.startswith(prefix) for k in expected):
                given = {k.removeprefix(prefix): v for k, v in given.items()}
    return given


def _class_hint(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    ours, theirs = class_count(expected), class_count(given)
    if ours == theirs:
        return ""
    return f"; these weights name {theirs} classes and the network {ours}: give their names with --classes FILE (classes=[...])"


def _some(what: str, names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what}: {', '.join(names[:most])}{more}" if names else ""


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
