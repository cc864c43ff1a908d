"""Weights from a file into a module: safetensors, or a checkpoint that holds tensors and nothing else.

A pickle can run any code when it is opened, so ``.pt`` files are read with ``weights_only``; a pickled model is
refused unless the caller trusts it (``--trust-pickle``). Wrappings that training scripts leave are undone:
``{"state_dict": ...}`` or ``{"model": ...}`` around the tensors, ``module.``, ``model.`` or ``_orig_mod.`` before
their names. Missing, surplus or misshapen tensors are errors, never a partial load; only the head may take another
number of classes, and only where their names were given.
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from convscope.errors import ConvscopeError, nearest

_WRAPPED_IN = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "model.", "_orig_mod.")
# what torch's restricted unpickler says of a sound pickle that asks for more than tensors
_PICKLED = re.compile("unsupported global|allowlisted|allowed global|is blocked|unrecognized function", re.IGNORECASE)


def read_weights(file: Path, *, trust_pickle: bool = False) -> dict[str, Tensor] | nn.Module:
    """The tensors in ``file`` by name; with ``trust_pickle`` also a whole pickled model.

    Raises:
        ConvscopeError: no such file, neither format, or a pickle with more than tensors.
    """
    if not file.is_file():
        siblings = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
        raise ConvscopeError(f"no weights file at {file}{nearest(file.name, siblings)}")
    if file.suffix.lower() == ".safetensors":
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
    except Exception as error:  # a broken file, or what its pickle runs, may raise anything
        if not trust_pickle and isinstance(error, pickle.UnpicklingError) and _PICKLED.search(str(error)):
            raise ConvscopeError(
                f"{file} holds pickled objects, not only tensors; opening it can run any code. Save its state_dict() "
                "as .safetensors, or, if you trust where it came from, say so: --trust-pickle (trust_pickle=True)"
            ) from error
        # torch's advice to turn weights_only off is no help where the file is no checkpoint at all
        why = "neither torch nor pickle wrote it" if isinstance(error, pickle.UnpicklingError) else _first_line(error)
        raise ConvscopeError(f"{file} is no readable checkpoint: {why}") from error


def _unwrapped(content: Any, file: Path) -> dict[str, Tensor] | nn.Module:
    for _ in range(2):  # {"model": {"state_dict": ...}} exists
        if isinstance(content, Mapping):
            outer = cast("Mapping[Any, Any]", content)
            content = next((outer[k] for k in _WRAPPED_IN if isinstance(outer.get(k), Mapping | nn.Module)), outer)
    if isinstance(content, nn.Module):
        return content
    if not isinstance(content, Mapping):
        raise ConvscopeError(f"{file} holds a {type(content).__name__}, not a state dict of tensors")
    entries = cast("Mapping[Any, Any]", content)
    others = [str(k) for k, v in entries.items() if not isinstance(v, Tensor)]
    if others or not entries:
        what = _some("entries that are no tensors", others) or "nothing"
        raise ConvscopeError(f"{file} holds no state dict of tensors, but {what}")
    return {str(k): v for k, v in entries.items()}


def load_into(module: nn.Module, weights: Mapping[str, Tensor], file: Path, *, classes: int | None = None) -> None:
    """Copy ``weights`` into ``module``, all of them, after taking wrappers' prefixes off.

    With ``classes``, a linear layer or convolution whose weights have that many outputs is given as many.

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
    other = [k for k, v in given.items() if v.shape != expected[k].shape]
    head = [k for k in other if _is_resized(module, k, given[k], expected[k]) and given[k].shape[0] == classes]
    if wrong := [k for k in other if k not in head]:
        shapes = [f"{k} {tuple(given[k].shape)} instead of {tuple(expected[k].shape)}" for k in wrong]
        hint = _class_hint(module, given, expected, wrong)
        raise ConvscopeError(f"{file} does not fit {type(module).__name__}: {_some('shapes', shapes)}{hint}")
    for name in head:
        _resize(module, name, given[name])
    tracked = {k: v for k, v in expected.items() if k.endswith("num_batches_tracked")}
    module.load_state_dict(tracked | given)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, own = name.rpartition(".")
    return module.get_submodule(path), own


def _is_resized(module: nn.Module, name: str, given: Tensor, expected: Tensor) -> bool:
    """True for the weights or bias of a layer that differ in the number of outputs only."""
    same = given.ndim == expected.ndim and given.shape[1:] == expected.shape[1:]
    return same and isinstance(_owner(module, name)[0], nn.Linear | nn.Conv2d)


def _resize(module: nn.Module, name: str, given: Tensor) -> None:
    owner, own = _owner(module, name)
    old = getattr(owner, own)
    setattr(owner, own, nn.Parameter(old.new_empty(given.shape), requires_grad=old.requires_grad))
    setattr(owner, "out_features" if isinstance(owner, nn.Linear) else "out_channels", given.shape[0])


def _without_prefixes(weights: Mapping[str, Tensor], expected: set[str]) -> dict[str, Tensor]:
    """The names as the network has them: of all ways to take prefixes off, the one that fits most of them."""
    given = best = dict(weights)
    while prefix := next((p for p in _PREFIXES if given and all(k.startswith(p) for k in given)), None):
        given = {k.removeprefix(prefix): v for k, v in given.items()}  # they nest: module._orig_mod.
        if len(given.keys() & expected) > len(best.keys() & expected):
            best = given
    return best


def _class_hint(
    module: nn.Module, given: Mapping[str, Tensor], expected: Mapping[str, Tensor], wrong: list[str]
) -> str:
    """What to do where nothing but the number of outputs of one layer is wrong."""
    if not all(_is_resized(module, k, given[k], expected[k]) for k in wrong):
        return ""
    counts = {(given[k].shape[0], expected[k].shape[0]) for k in wrong}
    if len(counts) != 1:
        return ""
    ((theirs, ours),) = counts
    return (
        f"; these weights name {theirs} classes and the network {ours}: give their names with --classes FILE "
        "(classes=[...])"
    )


def _some(what: str, names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{what}: {', '.join(names[:most])}{more}" if names else ""


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
