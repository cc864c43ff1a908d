"""What a step of ascent costs: beside lucent's, of 16 units in one batch beside 16 runs, and in memory; in one run.

    python -m benchmarks.ascent_steps [--threads 1] [--rounds 15] [--only lucent]

lucent: one unit of a ResNet-50 with random weights, a Fourier image of 224 x 224, jitter, scale, turn and jitter in
lucid's ranges, Adam, on both sides. lucent also pads the picture by 12 px a side, and grows it by up to a tenth, so
that the network sees 248 to 273 px; the second row has lucent's own ``fixed_image_size=224``, with which it sees as
many as convscope's. lucent needs a shim (``lucent_steps.py``). The first 16 steps of a run let shut rectifiers
through: they are the third row.

Batch: a step of 16 units at once, and a step each of 16 runs. On a CPU large pictures keep it busy one by one, and a
batch gains little; what it saves is overhead, which counts where steps are short.

Memory: what one step adds at its peak by the size of its batch; and what all pictures of more and more units add, made
in batches of 8, which must not grow with them.

On a GPU where there is one, as lucent decides for itself; ``CUDA_VISIBLE_DEVICES=`` keeps to the CPU.
"""

import argparse
import functools
import os
from collections.abc import Callable, Iterator

import torch
import torchvision
from torch import Tensor, nn

import convscope as cs
from benchmarks.lucent_steps import LucentSteps, mend_kornia
from benchmarks.memory import peak_mebibytes
from benchmarks.peers import available
from benchmarks.timing import as_row, interleaved
from convscope.cli.allocator import keep_memory
from convscope.synthesis.ascent import Step, ascend
from convscope.synthesis.canvases import fourier_canvas
from convscope.synthesis.objectives import units
from convscope.synthesis.transforms import lucid_like

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIDE, UNITS = 224, 16
MIDDLE = ("layer2.0", "layer2.3", "layer3.2")  # the 4th, 7th and 10th of ResNet-50's 16 blocks
BATCHES = {  # network -> a layer in its middle, sides
    "bundled:tiny50": ("features.10", (64,)),
    "squeezenet1_0": ("features.7", (64, 128, 224)),
    "resnet50": ("layer2.3", (64, 128, 224)),
}
FOREVER = 10**9


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name.startswith("bundled:"):
        return cs.load(name).module.to(DEVICE)
    return torchvision.models.get_model(name, weights=None).eval().to(DEVICE)


def normalised(image: Tensor) -> Tensor:
    mean, sd = (image.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (image - mean) / sd


def steps_of(model: nn.Module, layer: str, wanted: range, side: int, *, let_through: int = 0) -> Iterator[Step]:
    """A run for these units of the layer, in one batch."""
    generator = torch.Generator().manual_seed(0)
    return ascend(
        model,
        units([f"{layer}:{k}" for k in wanted]),
        fourier_canvas(len(wanted), 3, side, side, generator=generator, device=DEVICE),
        steps=FOREVER,
        to_input=normalised,
        transform=lucid_like(),
        generator=generator,
        let_through=let_through,
    )


def one_step(*runs: Iterator[Step]) -> Callable[[], object]:
    """A step of each run."""
    return lambda: [next(run) for run in runs]


def time_beside_lucent(layer: str, rounds: int) -> None:
    print(f"\nResNet-50, one unit of {layer}, {SIDE} px: the time of a step, over convscope's")
    model, one = build("resnet50"), range(3, 4)
    calls = {
        "convscope": one_step(steps_of(model, layer, one, SIDE)),
        "convscope, first 16 steps": one_step(steps_of(model, layer, one, SIDE, let_through=FOREVER)),
    }
    peers: list[LucentSteps] = []
    if available("lucent", "torch-lucent"):
        print(f"  {mend_kornia()}")
        peers = [LucentSteps(model, layer, 3, SIDE), LucentSteps(model, layer, 3, SIDE, fixed_image_size=SIDE)]
        calls |= {"lucent": peers[0].step, f"lucent, fixed to {SIDE} px": peers[1].step}
    for label, timing in interleaved(calls, reference="convscope", rounds=rounds).items():
        print(as_row(label, timing))
    for peer in peers:
        peer.close()


def time_batch(network: str, rounds: int) -> None:
    layer, sides = BATCHES[network]
    model = build(network)
    print(f"\n{network}, {UNITS} units of {layer}: a step of as many runs over one of a batch")
    for side in sides:
        single = [steps_of(model, layer, range(k, k + 1), side) for k in range(UNITS)]
        batch = one_step(steps_of(model, layer, range(UNITS), side))
        name = f"{UNITS} runs, {side} px"
        timing = interleaved({name: one_step(*single), "one batch": batch}, reference="one batch", rounds=rounds)
        print(as_row(name, timing[name]))


def prepare_step(count: int) -> Callable[[], object]:
    model, (layer, _) = build("resnet50"), BATCHES["resnet50"]
    next(steps_of(model, layer, range(1), 64))  # what the first pass allocates for good is not the step's
    return lambda: next(steps_of(model, layer, range(count), SIDE))


def prepare_pictures(count: int) -> Callable[[], object]:
    model, (layer, _) = build("squeezenet1_0"), BATCHES["squeezenet1_0"]
    next(steps_of(model, layer, range(1), 64))
    names, net = [f"{layer}:{k}" for k in range(count)], cs.load(model)
    return lambda: cs.visualize(net, names, steps=2, size=SIDE, batch=8)


def print_memory() -> None:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"  # what is freed goes back: the peak is of what is held, not of holes
    for what, prepare, counts in (
        (f"ResNet-50 to layer2.3, {SIDE} px: peak memory that a step adds, by its batch", prepare_step, (1, 8, 32)),
        (f"SqueezeNet, {SIDE} px, batches of 8: the same of 8, 16, 32 pictures", prepare_pictures, (8, 16, 32)),
    ):
        added = [peak_mebibytes(functools.partial(prepare, count)) for count in counts]
        cells = "".join(f"{n:8d}: {m:6.0f} MiB" for n, m in zip(counts, added, strict=True))
        print(f"\n{what}\n{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=("lucent", "batch", "memory"), action="append", help="may be given twice")
    parser.add_argument("--keep-memory", action="store_true", help="as the command line does it: cli/allocator.py")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.keep_memory:
        print("memory is kept" if keep_memory() else "memory is not kept: this is not glibc")
    print(f"torch {torch.__version__}, {DEVICE}, {options.threads} threads, {options.rounds} rounds")
    wanted = options.only or ("lucent", "batch", "memory")
    for layer in MIDDLE if "lucent" in wanted else ():
        time_beside_lucent(layer, options.rounds)
    for network in BATCHES if "batch" in wanted else ():
        time_batch(network, max(3, options.rounds // 3))
    if "memory" in wanted:
        print_memory()


if __name__ == "__main__":
    main()
