"""What Grad-CAM and occlusion cost, in plain forward passes, with the peers beside, in one run.

    python -m benchmarks.gradcam_occlusion [--device cuda] [--threads 1] [--rounds 15] [--only squeezenet1_0]

Random weights, 224 x 224. Grad-CAM: its time over that of a plain forward pass of the same batch without a graph;
the aim at the default layer is at most 1.1. Occlusion: its time a position over that of one image in a plain
forward pass in batches of the same size; 1.0 is the floor of any engine that runs whole passes. Memory: what a
call adds at its peak, for more and more positions at one batch size (it must not grow) and for several sizes.
"""

import argparse
import functools
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.memory import peak_mebibytes
from benchmarks.peers import available, grad_cams
from benchmarks.timing import as_row, interleaved
from convscope.attribution import occlusion

LAYERS = {"squeezenet1_0": "features.12", "resnet50": "layer4", "vgg16": "features.29"}
SIDE = 224
CLASS = 7


def build(name: str, device: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval().to(device)
    return model, torch.randn(1, 3, SIDE, SIDE, device=device)


def without_graph(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def time_grad_cam(name: str, device: str, rounds: int) -> None:
    model, x = build(name, device)
    candidates: dict[str, Callable[[], object]] = {"plain forward": functools.partial(without_graph, model, x)}
    for peer, method in grad_cams().items():
        candidates[f"Grad-CAM, {peer}"] = functools.partial(method, model, x, CLASS, LAYERS[name])
    print(f"\n{name}: Grad-CAM at {LAYERS[name]}, batch of 1, over a plain forward")
    for label, timing in interleaved(candidates, reference="plain forward", rounds=rounds).items():
        print(as_row(label, timing))


def occlude(model: nn.Module, x: Tensor, size: int, stride: int, batch: int) -> object:
    return occlusion(model, x, target=CLASS, size=size, stride=stride, batch=batch)


def occlude_with_captum(model: nn.Module, x: Tensor, size: int, stride: int, batch: int) -> object:
    from captum.attr import Occlusion

    squares = {"sliding_window_shapes": (3, size, size), "strides": (3, stride, stride)}
    with torch.no_grad():
        return Occlusion(model).attribute(x, target=CLASS, perturbations_per_eval=batch, **squares)


def time_occlusion(name: str, device: str, rounds: int, *, size: int, stride: int, batch: int) -> None:
    model, x = build(name, device)
    positions = (-(-(SIDE - size) // stride) + 1) ** 2
    many = x.repeat(batch, 1, 1, 1)
    candidates: dict[str, Callable[[], object]] = {
        f"forward of {batch}": functools.partial(without_graph, model, many),
        "occlusion, convscope": functools.partial(occlude, model, x, size, stride, batch),
    }
    if available("captum", "captum"):
        candidates["occlusion, captum"] = functools.partial(occlude_with_captum, model, x, size, stride, batch)
    print(f"\n{name}: occlusion, squares of {size}, stride {stride}, {positions} positions, batches of {batch}")
    timings = interleaved(candidates, reference=f"forward of {batch}", rounds=rounds, warm_up=1)
    for label, timing in timings.items():
        images = batch if label.startswith("forward") else positions
        each, over = timing.seconds / images, timing.ratio * batch / images
        print(f"  {label:<28} {each * 1e3:9.2f} ms an image {over:6.2f} x a plain image in a batch")


def prepare_occlusion(name: str, device: str, stride: int, batch: int) -> Callable[[], object]:
    model, x = build(name, device)
    without_graph(model, x)  # what the first pass allocates for good is not occlusion's
    return functools.partial(occlude, model, x, 32, stride, batch)


def prepare_captum_occlusion(name: str, device: str, stride: int, batch: int) -> Callable[[], object]:
    model, x = build(name, device)
    without_graph(model, x)
    return functools.partial(occlude_with_captum, model, x, 32, stride, batch)


def print_memory(name: str, device: str) -> None:
    print(f"\n{name}: peak memory that one occlusion adds, squares of 32")
    engines: dict[str, Callable[..., Callable[[], object]]] = {"convscope": prepare_occlusion}
    if available("captum", "captum"):
        engines["captum"] = prepare_captum_occlusion
    for label, prepare in engines.items():
        for stride, batch in ((32, 8), (16, 8), (8, 8), (16, 1), (16, 32)):
            positions = (-(-(SIDE - 32) // stride) + 1) ** 2
            added = peak_mebibytes(functools.partial(prepare, name, device, stride, batch))
            print(f"  {label:<12} {positions:4d} positions in batches of {batch:2d}: {added:7.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=LAYERS, action="append", help="a network; may be given more than once")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {options.rounds} rounds")
    for name in options.only or LAYERS:
        time_grad_cam(name, options.device, options.rounds)
    smallest = (options.only or ["squeezenet1_0"])[0]
    time_occlusion(smallest, options.device, min(options.rounds, 3), size=32, stride=16, batch=32)
    print_memory(smallest, options.device)


if __name__ == "__main__":
    main()
