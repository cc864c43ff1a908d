"""What it costs to switch off every unit of a layer over a data set, against a whole pass a unit, in one run.

    python -m benchmarks.ablation_over_data [--threads 1] [--rounds 3] [--images 4]

Random weights, images of noise in memory, units of a layer at zero, one at a time. Three ways take turns:

    a whole pass a unit    the network from the image on, in batches of the same size, that unit edited
    a pass from the layer  ours: below the layer once an image, above it once a unit
    above the layer alone  the floor: only what lies above the layer, made plainly on copies, nothing counted

``whole / ours`` is the gain from the shared trunk; what it can be at most is the share of the multiply-adds that lie
above the layer. A layer right below a mean and a linear head takes no pass a unit at all.
"""

import argparse
import functools
from collections.abc import Callable

import numpy as np
import torch
import torchvision
from torch import nn

from benchmarks.timing import as_row, interleaved
from convscope.dataset.ablation_sweep import AblationPlan, ablation_sweep
from convscope.dataset.image_sources import source_of
from convscope.network.branching import Branch, find_branch
from convscope.network.evaluation import evaluation
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.network.taps import tap
from convscope.network.targets import Unit

ROWS = 32
CASES = (  # a network, a layer of it, how many of its units
    ("squeezenet1_0", "features.12.squeeze", 64),
    ("squeezenet1_0", "features.5.squeeze", 16),
    ("resnet18", "layer4.1.conv1", 64),
    ("resnet18", "layer2.1.conv1", 32),
    ("resnet18", "layer4", 32),
)


def network(name: str) -> Network:
    torch.manual_seed(0)
    return Network(torchvision.models.get_model(name, weights=None).eval(), Preprocess(224, 224), (), name)


def photos(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (224, 224, 3), dtype=np.uint8) for _ in range(count)]


def sweep(net: Network, given: list[np.ndarray], layer: str, units: int, threads: int) -> object:
    source = source_of(given)
    plan = AblationPlan(tuple((Unit(layer, unit),) for unit in range(units)), images=len(given), rows=ROWS)
    return ablation_sweep(net, source, [(name, -1) for name in source.names()], plan, threads=threads)


def passes(branch: Branch, net: Network, given: list[np.ndarray], units: int) -> None:
    """The passes above the branch alone, each with rows of one unit at zero."""
    x = torch.cat([net.input_of(one) for one in given]).contiguous(memory_format=torch.channels_last)
    layer, copies = branch.layers[0], max(1, ROWS // len(given))
    with evaluation(net.module), torch.no_grad():
        below = x
        if branch.cut is not None:
            with tap(net.module, branch.cut) as seen:
                net.module(x)
            below = seen[branch.cut]
        for first in range(0, units, copies):
            count = min(copies, units - first)
            branch.above(x, torch.cat([below] * count), {layer: functools.partial(off, first=first, count=count)})


def off(activation: torch.Tensor, *, first: int, count: int) -> torch.Tensor:
    numbers = torch.arange(count)
    activation.unflatten(0, (count, -1))[numbers, :, first + numbers] = 0.0
    return activation


def share_above(model: nn.Module, layer: str, branch: Branch) -> float:
    """Of the multiply-adds of a pass."""
    from torch.utils.flop_counter import FlopCounterMode

    x = torch.randn(1, 3, 224, 224)
    with FlopCounterMode(display=False) as whole, torch.no_grad():
        model(x)
    with evaluation(model), torch.no_grad():
        with tap(model, str(branch.cut)) as seen:
            model(x)
        with FlopCounterMode(display=False) as above:
            branch.above(x, seen[str(branch.cut)], {layer: lambda activation: activation})
    return above.get_total_flops() / whole.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {options.threads} threads, {options.images} images, {options.rounds} rounds")
    for name, layer, units in CASES:
        net, given = network(name), photos(options.images)
        branch = find_branch(net.module, net.input_of(given[0]), [layer])
        calls: dict[str, Callable[[], object]] = {
            "a whole pass a unit": functools.partial(passes, Branch(net.module, (layer,), None), net, given, units),
            "a pass from the layer": functools.partial(sweep, net, given, layer, units, options.threads),
            "above the layer alone": functools.partial(passes, branch, net, given, units),
        }
        share = share_above(net.module, layer, branch)
        print(f"\n{name} {layer}, {units} units, branched at {branch.cut}: {share:.1%} of the multiply-adds are above")
        timings = interleaved(calls, reference="a pass from the layer", rounds=options.rounds, warm_up=1)
        for label, timing in timings.items():
            print(as_row(label, timing))


if __name__ == "__main__":
    main()
