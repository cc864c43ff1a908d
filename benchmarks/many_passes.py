"""What the methods of many passes cost in time and memory, with the peers beside, in one run.

    python -m benchmarks.many_passes [--device cuda] [--threads 1] [--rounds 3] [--batch 8]

SqueezeNet 1.0 with random weights, 224 x 224, one image. Time: that of a call over the passes that it cannot do
without (forward and backward for the gradients, forward for the masks), made plainly in batches of the same size;
1.0 is the floor. Memory: what a call adds at its peak for more and more steps, samples, masks or channels: it must
not grow with them. Peers are asked as their documentation does; captum's ``internal_batch_size`` is given where it
has one, and without it beside.
"""

import argparse
import functools
import os
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.memory import peak_mebibytes
from benchmarks.peers import available
from benchmarks.timing import as_row, interleaved
from convscope.attribution import METHODS

SIDE, CLASS = 224, 7
LAST, INNER = "features.12", "features.7"  # of 512 and of 256 channels
Call = Callable[[nn.Module, Tensor, int, int], object]  # model, x, how many, batch


def build(device: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    model = torchvision.models.get_model("squeezenet1_0", weights=None).eval().to(device)
    return model, torch.randn(1, 3, SIDE, SIDE, device=device)


def ours(method: str, option: str, model: nn.Module, x: Tensor, count: int, batch: int) -> object:
    return METHODS[method](model, x, target=CLASS, batch=batch, **{option: count})


def ours_at_a_layer(method: str, model: nn.Module, x: Tensor, channels: int, batch: int) -> object:
    return METHODS[method](model, x, target=CLASS, batch=batch, layer=LAST if channels == 512 else INNER)


def captum_path(bounded: bool, model: nn.Module, x: Tensor, count: int, batch: int) -> object:
    from captum.attr import IntegratedGradients

    size = {"internal_batch_size": batch} if bounded else {}
    return IntegratedGradients(model).attribute(x, target=CLASS, n_steps=count, method="gausslegendre", **size)


def captum_noise(bounded: bool, model: nn.Module, x: Tensor, count: int, batch: int) -> object:
    from captum.attr import NoiseTunnel, Saliency

    size = {"nt_samples_batch_size": batch} if bounded else {}
    tunnel = NoiseTunnel(Saliency(model))
    return tunnel.attribute(x, target=CLASS, nt_samples=count, stdevs=0.1, nt_type="smoothgrad", abs=False, **size)


def grad_cam_package(name: str, model: nn.Module, x: Tensor, channels: int, batch: int) -> object:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer = model.get_submodule(LAST if channels == 512 else INNER)
    with getattr(pytorch_grad_cam, name)(model=model, target_layers=[layer]) as method:
        method.batch_size = batch
        return method(input_tensor=x, targets=[ClassifierOutputTarget(CLASS)])


def candidates(method: str) -> dict[str, Call]:
    """convscope and the peers that have the method."""
    partial = functools.partial
    match method:
        case "integrated-gradients":
            found: dict[str, Any] = {"convscope": partial(ours, method, "steps")}
            peers = {"captum": partial(captum_path, True), "captum, unbounded": partial(captum_path, False)}
        case "smooth-grad":
            found = {"convscope": partial(ours, method, "samples")}
            peers = {"captum": partial(captum_noise, True), "captum, unbounded": partial(captum_noise, False)}
        case "rise":
            return {"convscope": partial(ours, method, "masks")}
        case _:
            found = {"convscope": partial(ours_at_a_layer, method)}
            peers = {}
            name = {"score-cam": "ScoreCAM", "ablation-cam": "AblationCAM"}[method]
            if available("pytorch_grad_cam", "grad-cam"):
                found["grad-cam"] = partial(grad_cam_package, name)
    return found | peers if peers and available("captum", "captum") else found


COUNTS = {
    "integrated-gradients": (8, 32, 128),
    "smooth-grad": (8, 32, 128),
    "rise": (32, 128, 512),
    "ablation-cam": (256, 512),
    "score-cam": (256, 512),
}


def plain_passes(gradient: bool, model: nn.Module, x: Tensor, count: int, batch: int) -> object:
    """The passes alone, in batches: what no method can do without."""
    for start in range(0, count, batch):
        images = x.repeat(min(batch, count - start), 1, 1, 1)
        if not gradient:
            with torch.no_grad():
                model(images)
            continue
        images.requires_grad_()
        torch.autograd.grad(model(images)[:, CLASS].sum(), images)
    return None


def time_method(method: str, device: str, rounds: int, batch: int) -> None:
    model, x = build(device)
    count = COUNTS[method][min(1, len(COUNTS[method]) - 2)]  # enough that a pass or two more do not count
    plain = functools.partial(plain_passes, method in ("integrated-gradients", "smooth-grad"), model, x, count, batch)
    calls: dict[str, Callable[[], object]] = {"plain passes": plain}
    for name, call in candidates(method).items():
        calls[name] = functools.partial(call, model, x, count, batch)
    print(f"\n{method}: {count} passes in batches of {batch}, over as many plain ones")
    for label, timing in interleaved(calls, reference="plain passes", rounds=rounds, warm_up=1).items():
        print(as_row(label, timing))


def prepare(call: Call, device: str, count: int, batch: int) -> Callable[[], object]:
    model, x = build(device)
    plain_passes(True, model, x, 1, 1)  # what the first pass allocates for good is not the method's
    return functools.partial(call, model, x, count, batch)


def print_memory(method: str, device: str, batch: int) -> None:
    print(f"\n{method}: peak memory that one call adds, batches of {batch}")
    for label, call in candidates(method).items():
        added = [peak_mebibytes(functools.partial(prepare, call, device, count, batch)) for count in COUNTS[method]]
        print(f"  {label:<28}" + "".join(f"{n:6d}: {m:6.0f} MiB" for n, m in zip(COUNTS[method], added, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--only", choices=COUNTS, action="append", help="a method; may be given more than once")
    options = parser.parse_args()
    os.environ.setdefault("TQDM_DISABLE", "1")  # grad-cam draws bars
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {options.rounds} rounds")
    for method in options.only or COUNTS:
        time_method(method, options.device, options.rounds, options.batch)
        print_memory(method, options.device, options.batch)


if __name__ == "__main__":
    main()
