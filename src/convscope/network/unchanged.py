"""A block after which a live network is bit for bit what it was, whatever its passes did to it.

Evaluation mode alone does not promise that. A forward pass may count its calls, move an average that is no batch
norm's, cache what it computed, clip its weights. Somebody who looks at a network in the middle of its training must
leave none of it. So what every module holds is remembered, and put back at the block's end:

* its attributes, its flags among them, by identity; lists, dicts (hooks are such), sets and deques by content too;
* its parameters, buffers and any other tensors it holds, by their bits, and whether they want a
  gradient; gradients by identity and bits.

Values are written back only where they differ, and past autograd's counters: a graph of the training that was recorded
before the block can still be gone through backward after it.

Pitfalls: what a hook or a forward pass changes elsewhere, in a variable of a script, is not seen. The copies take as
much memory as the network and its gradients.
"""

from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_CONTAINERS = (list, dict, set, deque)


@contextmanager
def unchanged(model: nn.Module) -> Generator[None]:
    """After the block the model holds what it held before, also where the block failed."""
    attributes = {module: dict(vars(module)) for module in model.modules()}
    contents = _contents(attributes)
    tensors = _tensors(attributes, contents)
    leaves = {tensor: tensor.requires_grad for tensor in tensors if tensor.is_leaf}
    gradients = {tensor: tensor.grad for tensor in leaves if tensor.grad is not None}
    bits = {tensor: tensor.detach().clone() for tensor in [*tensors, *gradients.values()]}
    try:
        yield
    finally:
        for module, before in attributes.items():
            _put_back_attributes(module, before)
        for container, before in contents:
            _put_back_content(container, before)
        for tensor, before in bits.items():
            _put_back_bits(tensor, before)
        for tensor, wanted in leaves.items():
            if tensor.requires_grad != wanted:
                tensor.requires_grad_(wanted)
            if tensor.grad is not gradients.get(tensor):
                tensor.grad = gradients.get(tensor)


def _contents(attributes: Mapping[nn.Module, Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    """Every container that a module holds, with a copy of it; one level deep."""
    held = [value for values in attributes.values() for value in values.values()]
    found = {id(value): value for value in held if isinstance(value, _CONTAINERS)}
    return [(container, container.copy()) for container in found.values()]


def _tensors(attributes: Mapping[nn.Module, Mapping[str, Any]], contents: list[tuple[Any, Any]]) -> list[Tensor]:
    direct = [value for values in attributes.values() for value in values.values()]
    inside = [v for _, copy in contents for v in (copy.values() if isinstance(copy, dict) else copy)]
    found = {id(value): value for value in [*direct, *inside] if isinstance(value, Tensor)}
    return [tensor for tensor in found.values() if not is_lazy(tensor)]  # which has no values before its first pass


def _put_back_attributes(module: nn.Module, before: Mapping[str, Any]) -> None:
    now = vars(module)
    for name in [name for name in now if name not in before]:
        del now[name]
    for name, value in before.items():
        if name not in now or now[name] is not value:
            now[name] = value


def _put_back_content(container: Any, before: Any) -> None:
    if _identities(container) == _identities(before):
        return
    container.clear()
    if isinstance(container, dict | set):
        container.update(before)
    else:
        container.extend(before)


def _identities(container: Any) -> list[Any]:
    """What is in it, without asking whether two tensors are equal."""
    if isinstance(container, dict):
        return [(key, id(value)) for key, value in container.items()]
    return sorted(map(id, container)) if isinstance(container, set) else list(map(id, container))


def _put_back_bits(tensor: Tensor, before: Tensor) -> None:
    now = tensor.detach()
    if now.shape != before.shape or now.dtype != before.dtype or now.device != before.device:
        tensor.data = before
    elif not _same_bits(now, before):
        tensor.data.copy_(before)  # .data: autograd's version counter stays, and so does a graph that saved it


def _same_bits(a: Tensor, b: Tensor) -> bool:
    if a.layout != torch.strided:
        return False
    return bool(torch.equal(_bytes(a), _bytes(b)))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)  # NaN is equal to itself, -0 is not 0
