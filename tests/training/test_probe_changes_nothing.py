"""Training with a probe. Oracle: the same training without it, compared bit by bit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from convscope.errors import ConvscopeError
from convscope.training.probe import Probe
from tests.nets import opaque
from tests.training.probed_training import images
from tests.training.training_nets import HARD, seed_all, steps

pytestmark = pytest.mark.global_rng
OTHERS = [
    "augmented",
    "a generator of the script",
    "a loader's own generator",
    "a callback that draws",
    "pictures",
    "every second epoch",
]
FAILING = [
    f"{error} in {where}" for where in ("forward", "callback") for error in ("RuntimeError", "KeyboardInterrupt")
]


@pytest.fixture(scope="module")
def compared() -> dict[str, list[str]]:
    """Case -> what differs, bit by bit, from the training without a probe."""
    here = Path(__file__).resolve().parents[2]
    run = [sys.executable, "-m", "tests.training.probed_training"]
    done = subprocess.run(run, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [*HARD, *OTHERS])
def test_weights_after_three_epochs_are_bit_for_bit_those_without_a_probe(
    name: str, compared: dict[str, list[str]]
) -> None:
    """And gradients, buffers, the optimiser's state, flags, hooks, attributes, every random state."""
    assert compared[name] == []


@pytest.mark.parametrize("name", FAILING)
def test_where_the_look_fails_everything_is_put_back(name: str, compared: dict[str, list[str]]) -> None:
    assert compared[name] == []


def test_one_more_random_number_would_have_been_seen(compared: dict[str, list[str]]) -> None:
    assert compared["one more random number"] == ["seen"]


def test_within_a_step_its_graph_autocast_and_modes_stay() -> None:
    """It looks before forward, and between forward and backward."""

    def run(probed: bool) -> list[bytes]:
        seed_all(0)
        net = HARD["restless"]().train()
        x, y = images()
        probes = [Probe(net, None, (x, y), batch=7) for _ in range(2 * probed)]
        for epoch in range(3):
            net.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    assert [probe(epoch) for probe in probes[:1]] != [None]
                loss = torch.nn.functional.cross_entropy(net(x).float(), y)
                with torch.no_grad():
                    assert [probe(epoch) for probe in probes[1:]] != [None]
                    assert not torch.is_grad_enabled()
                assert torch.is_autocast_enabled("cpu")
                loss = loss + net(x).float().square().mean()
            loss.backward()
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter -= 0.1 * parameter.grad  # pyright: ignore[reportOperatorIssue]
        return [p.detach().numpy().tobytes() for p in net.parameters()]

    assert run(True) == run(False)


def test_what_is_seen_does_not_depend_on_an_autocast_around_it() -> None:
    seed_all(0)
    net = HARD["in place"]()
    plain = Probe(net, None, images())(0)
    with torch.autocast("cpu", torch.bfloat16):
        within = Probe(net, None, images())(0)
    assert plain is not None
    assert within is not None
    assert within.scalars() == plain.scalars()


def test_inference_mode_around_it_and_flags_of_cudnn() -> None:
    seed_all(0)
    net = HARD["in place"]().train()
    probe = Probe(net, None, images())
    torch.backends.cudnn.benchmark = True
    try:
        with torch.inference_mode():
            snapshot = probe(0)
            assert torch.is_inference_mode_enabled()
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (True, False)
    finally:
        torch.backends.cudnn.benchmark = False
    assert snapshot is not None
    steps(net, [images()], torch.optim.SGD(net.parameters(), 0.1))  # nothing in it is an inference tensor


def test_a_network_wrapped_for_several_devices_or_compiled_is_looked_at_inside() -> None:
    seed_all(0)
    net = HARD["dropout and norm"]().train()
    wrapped = nn.DataParallel(net)
    one, two = Probe(wrapped, ["0"], images())(0), Probe(net, ["0"], images())(0)
    assert one is not None
    assert two is not None
    assert one.scalars() == two.scalars()
    assert wrapped.training
    assert net.training


def test_a_scripted_network_is_refused() -> None:
    with pytest.raises(ConvscopeError, match="TorchScript"):
        Probe(opaque.scripted(), None, images())
