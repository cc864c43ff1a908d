"""Trainings with a probe and without, compared; a program of its own.

    python -m tests.training.probed_training        writes {case: what differs}

Within pytest every call of the library is checked by beartype, which draws from ``random`` to do so.
"""

import json
import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from convscope.training import looking
from convscope.training.probe import Probe
from tests.training.training_nets import CLASSES, HARD, SIDE, seed_all, states, steps
from tests.untouched import differences, look_around, look_at

N = 30


def images(n: int = N, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, SIDE, SIDE, generator=generator)
    return x, torch.arange(n) % CLASSES


class Augmented(Dataset[tuple[Tensor, int]]):
    """Crops, flips and noise from every source of random numbers that there is."""

    def __init__(self) -> None:
        self.x, self.y = images()
        self.own = {"numpy": np.random.default_rng(3), "more": [np.random.RandomState(4), random.Random(5)]}
        self.generator = torch.Generator().manual_seed(6)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        own: Any = self.own
        drawn = [float(own["numpy"].random()), float(own["more"][0].rand()), own["more"][1].random(), random.random()]
        drawn += [float(np.random.rand()), float(torch.rand(())), float(torch.rand((), generator=self.generator))]
        return self.x[number] + 0.1 * sum(drawn), int(self.y[number])


AT_THE_TOP = np.random.default_rng(10)


class OfAScript(Augmented):
    """Draws from a generator at the top of the script."""

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.x[number] + 0.1 * float(AT_THE_TOP.random()), int(self.y[number])


def bits(net: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, bytes]:
    found = {name: value.detach().numpy().tobytes() for name, value in net.state_dict().items()}
    found |= {f"{n}.grad": p.grad.numpy().tobytes() for n, p in net.named_parameters() if p.grad is not None}
    for i, state in enumerate(optimiser.state.values()):
        found |= {f"adam {i} {key}": v.numpy().tobytes() for key, v in state.items() if isinstance(v, Tensor)}
    return found


def trained(
    build: Callable[[], nn.Module],
    *,
    probed: bool,
    data: Callable[[], Any] = lambda: TensorDataset(*images()),
    **how: Any,
) -> tuple[dict[str, bytes], list[Any], list[str]]:
    """(every bit, every random state, what was not as it was around a look)."""
    seed_all(0)
    AT_THE_TOP.bit_generator.state = np.random.default_rng(10).bit_generator.state
    net = build().train() if build is not HARD["one part in eval"] else build()
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], 0.01)
    dataset, generator = data() if data else TensorDataset(*images()), how.pop("generator", lambda: None)()
    loader: Any = DataLoader(dataset, 5, shuffle=True, generator=generator)
    left: list[str] = []
    probe = None
    if probed:
        before, around = look_at(net), look_around()
        probe = Probe(net, None, {"train": loader, "held out": images(9, 2)}, batch=4, **how)
        left += differences(before, look_at(net)) + differences(around, look_around())
    for epoch in range(4):
        if epoch:
            steps(net, loader, optimiser)
        if probe is not None:
            before, around, drawn = look_at(net), look_around(), states()
            probe(epoch)
            left += differences(before, look_at(net)) + differences(around, look_around())
            left += [] if drawn == states() else ["a random state"]
    return bits(net, optimiser), states(), left


def compared(build: Callable[[], nn.Module] = HARD["dropout and norm"], **how: Any) -> list[str]:
    plain, probed = trained(build, probed=False, **how), trained(build, probed=True, **how)
    found = [name for name in plain[0] | probed[0] if plain[0].get(name) != probed[0].get(name)]
    return [*probed[2], *found, *([] if plain[1] == probed[1] else ["a random state at the end"])]


def logger(_snapshot: object) -> None:
    torch.rand(3), np.random.rand(3), random.random()


def own_generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def failed(where: str, error: type[BaseException]) -> list[str]:
    """What a look that fails leaves behind."""
    seed_all(0)
    net, failing = HARD["restless"]().train(), False

    def raising(*_: object) -> None:
        if failing:
            torch.rand(2), np.random.rand(2), random.random()
            raise error("stop")

    probe = Probe(net, None, images(), on_snapshot=[raising] if where == "callback" else ())
    if where == "forward":
        net.get_submodule("head").register_forward_pre_hook(raising)
    steps(net, [images()] * 2, torch.optim.SGD(net.parameters(), 0.1))
    before, around, drawn = look_at(net), look_around(), states()
    failing = True
    try:
        probe(1)
    except error:
        pass
    else:
        return ["it did not fail"]
    left = differences(before, look_at(net)) + differences(around, look_around())
    failing = False
    left += [] if drawn == states() else ["a random state"]
    return left if probe(2) is not None else ["it does not look again"]


def one_more_number() -> nn.Module:
    net = HARD["dropout and norm"]()
    torch.rand(1)
    return net


def main() -> None:
    torch.set_num_threads(1)
    looking.PICTURE_STEPS = 2  # pyright: ignore[reportPrivateUsage]
    found = {name: compared(build) for name, build in HARD.items()}
    found["augmented"] = compared(data=Augmented)
    found["a generator of the script"] = compared(data=OfAScript)
    found["a loader's own generator"] = compared(data=Augmented, generator=own_generator)
    found["a callback that draws"] = compared(on_snapshot=[logger])
    found["pictures"] = compared(units=["0:1"], pictures=True)
    found["every second epoch"] = compared(every=2)
    for where in ("forward", "callback"):
        for error in (RuntimeError, KeyboardInterrupt):
            found[f"{error.__name__} in {where}"] = failed(where, error)
    disturbed = trained(one_more_number, probed=False)[0] != trained(HARD["dropout and norm"], probed=False)[0]
    found["one more random number"] = ["seen"] if disturbed else []
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
