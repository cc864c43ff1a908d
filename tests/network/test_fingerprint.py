"""The fingerprint of a network, against SHA-256 put together by hand; it follows a live module."""

import hashlib

import pytest
import torch
from torch import Tensor, nn

from convscope.network import loading
from convscope.network.loading import Network, load
from convscope.network.preprocessing import Preprocess
from tests import nets
from tests.untouched import watch


def fingerprint(module: nn.Module) -> str:
    return Network(module, Preprocess(8, 8), (), "x").fingerprint


def test_a_fingerprint_is_that_of_names_types_shapes_and_bytes() -> None:
    """Oracle: SHA-256 over them, put together here."""
    module = nets.norm_dropout(dtype=torch.bfloat16)
    digest = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(bytes(tensor.detach().contiguous().reshape(-1).view(torch.uint8).tolist()))
    assert fingerprint(module) == digest.hexdigest()[:16]


def flip(tensor: Tensor) -> None:
    with torch.no_grad():
        tensor.view(-1)[0] += 1


@pytest.mark.parametrize("name", ["conv1.weight", "linear.bias", "norm1.running_var", "norm1.num_batches_tracked"])
@pytest.mark.parametrize("through", ["the tensor", ".data"])
def test_a_fingerprint_follows_one_weight_of_a_live_module(name: str, through: str) -> None:
    module = nets.norm_dropout()
    net = load(module)
    before = net.fingerprint
    assert net.fingerprint == before
    tensor = dict([*module.named_parameters(), *module.named_buffers()])[name]
    flip(tensor if through == "the tensor" else tensor.data)
    assert net.fingerprint != before
    assert net.fingerprint == fingerprint(module)
    watch(module)


def test_a_fingerprint_tells_shapes_types_orders_and_buffers_that_are_not_saved_apart() -> None:
    def module(weight: Tensor, buffer: Tensor | None = None) -> nn.Module:
        found = nn.Module()
        found.weight = nn.Parameter(weight, requires_grad=False)
        found.register_buffer("mean", buffer, persistent=False)
        return found

    row = torch.arange(6.0)
    weights = [row, row.reshape(2, 3), row.reshape(3, 2), row.flip(0), row.double(), row.bool(), row.sum(), row[:0]]
    every = [module(weight) for weight in [*weights, row.to(torch.complex64)]]
    every += [module(row, torch.zeros(1)), module(row, torch.ones(1))]
    assert len({fingerprint(one) for one in every}) == len(every)
    turned, straight = torch.arange(6.0).reshape(2, 3).t(), torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])
    assert fingerprint(module(turned)) == fingerprint(module(straight))
    assert fingerprint(module(torch.arange(12.0)[::2])) == fingerprint(module(row * 2))


def test_the_weights_are_hashed_once_while_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    net, calls = load(nets.plain()), []
    digest = loading._digest
    monkeypatch.setattr(loading, "_digest", lambda tensors: calls.append(1) or digest(tensors))
    assert net.fingerprint == net.fingerprint
    assert len(calls) == 1


def test_inference_tensors_have_a_fingerprint() -> None:
    with torch.inference_mode():
        module = nets.plain()
    assert load(module).fingerprint == load(nets.plain()).fingerprint
