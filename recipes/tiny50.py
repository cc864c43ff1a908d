"""Train the bundled model: ``python recipes/tiny50.py --data tiny_imagenet_50.zip --out runs/tiny50``.

One command from the zip of images to the float16 weights that ship in the package. It saves after every epoch
and goes on from there when it is called again (so an interrupted run loses one epoch at most); the same seed
gives the same order of images and the same crops. ``runs/tiny50/log.csv`` keeps a line an epoch.

The recipe: a batch-normed VGG of four stages, SGD with Nesterov momentum and a one-cycle learning rate (Smith
& Topin 2017), images that grow while training goes on (Howard 2018), random crops, flips and colour, label
smoothing, and an exponential average of the weights, which is what is shipped. At the end the batch norms are
folded into the convolutions.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import math
import os
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from convscope.network.tiny50 import MEAN, SIZE, STD, Tiny50

BATCH = 128
PEAK_RATE = 0.2
MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
LABEL_SMOOTHING = 0.1
AVERAGE_DECAY = 0.998  # of the weights, a step: the mean over about the last 500 steps
WARM_UP = 0.2  # share of the steps in which the rate rises


def read_split(archive: zipfile.ZipFile, split: str) -> tuple[Tensor, Tensor, list[str]]:
    """Images (n, 3, 64, 64) uint8, labels (n,), class names: the folders without their wnid."""
    names = sorted(n for n in archive.namelist() if f"/{split}/" in n and n.endswith(".JPEG"))
    folders = sorted({n.split("/")[-2] for n in names})
    index = {folder: i for i, folder in enumerate(folders)}
    images = torch.empty(len(names), 3, SIZE, SIZE, dtype=torch.uint8)
    for i, name in enumerate(names):
        with Image.open(io.BytesIO(archive.read(name))) as image:
            images[i] = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    labels = torch.tensor([index[n.split("/")[-2]] for n in names])
    return images, labels, [folder.split("_", 1)[1].replace("_", " ") for folder in folders]


def normalise(images: Tensor) -> Tensor:
    """(b, 3, h, w) in 0..255 to the network's input."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def augment(images: Tensor, size: int, g: torch.Generator, *, least_area: float) -> Tensor:
    """Random crop of ``least_area``..1 of the area, flip, brightness and contrast; (b, 3, size, size) in 0..255."""
    b = len(images)
    area = torch.empty(b).uniform_(least_area, 1, generator=g)
    ratio = torch.empty(b).uniform_(-math.log(4 / 3), math.log(4 / 3), generator=g).exp()
    sy, sx = (area / ratio).sqrt().clamp(max=1), (area * ratio).sqrt().clamp(max=1)
    ty = torch.empty(b).uniform_(-1, 1, generator=g) * (1.08 - sy)  # a little over the edge, which reflects
    tx = torch.empty(b).uniform_(-1, 1, generator=g) * (1.08 - sx)
    flip = torch.randint(0, 2, (b,), generator=g) * 2 - 1
    zero = torch.zeros(b)
    theta = torch.stack([torch.stack([sx * flip, zero, tx], 1), torch.stack([zero, sy, ty], 1)], 1)
    grid = F.affine_grid(theta, [b, 3, size, size], align_corners=False)
    out = F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False)
    brightness = torch.empty(b, 1, 1, 1).uniform_(0.75, 1.25, generator=g)
    contrast = torch.empty(b, 1, 1, 1).uniform_(0.75, 1.25, generator=g)
    mean = out.mean((1, 2, 3), keepdim=True)
    return ((out - mean) * contrast + mean * brightness).clamp(0, 255)


def rate(progress: float) -> float:
    """One cycle: up along a line, down along a cosine."""
    if progress < WARM_UP:
        return PEAK_RATE * (0.05 + 0.95 * progress / WARM_UP)
    fall = (progress - WARM_UP) / (1 - WARM_UP)
    return PEAK_RATE * max(0.5 * (1 + math.cos(math.pi * fall)), 1e-3)


def fold(model: Tiny50) -> Tiny50:
    """The same function without batch norms."""
    plain = Tiny50(model.classifier.out_features)
    layers = list(model.eval().features)
    pairs = [(a, b) for a, b in itertools.pairwise(layers) if isinstance(b, nn.BatchNorm2d)]
    targets = [m for m in plain.features if isinstance(m, nn.Conv2d)]
    for target, (conv, norm) in zip(targets, pairs, strict=True):
        target.load_state_dict(fuse_conv_bn_eval(conv, norm).state_dict())  # type: ignore[arg-type]
    plain.classifier.load_state_dict(model.classifier.state_dict())
    return plain.eval()


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Top-1 over all, and per class, in percent."""
    model.eval()
    top = torch.cat([model(normalise(part)).argmax(1) for part in images.split(250)])
    right = (top == labels).float()
    each = torch.stack([right[labels == c].mean() for c in range(int(labels.max()) + 1)])
    return 100 * right.mean().item(), 100 * each


def sizes(plan: str) -> list[int]:
    """'14x40,6x48' -> [40] * 14 + [48] * 6."""
    pairs = [part.split("x") for part in plan.split(",")]
    return [int(size) for count, size in pairs for _ in range(int(count))]


def batches(count: int, g: torch.Generator) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=g)
    yield from order[: count - count % BATCH].split(BATCH)


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    with zipfile.ZipFile(args.data) as archive:
        images, labels, classes = read_split(archive, "train")
        val_images, val_labels, _ = read_split(archive, "val")
    model = Tiny50(len(classes), batch_norm=True).to(memory_format=torch.channels_last)
    average = Tiny50(len(classes), batch_norm=True)
    average.load_state_dict(model.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), PEAK_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True)
    plan = sizes(args.plan)
    steps = len(images) // BATCH
    # a step on small images is cheap: the cycle runs over epochs, whatever their size
    args.out.mkdir(parents=True, exist_ok=True)
    saved, first = args.out / "checkpoint.pt", 0
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["epochs"]
        print(f"goes on after epoch {first}", flush=True)
    for epoch in range(first, len(plan)):
        start, total = time.perf_counter(), 0.0
        g = torch.Generator().manual_seed(args.seed * 1000 + epoch)
        late = epoch >= len(plan) - args.gentle
        model.train()
        for step, index in enumerate(batches(len(images), g)):
            for group in optimiser.param_groups:
                group["lr"] = rate((epoch * steps + step) / (len(plan) * steps))
            x = normalise(augment(images[index], plan[epoch], g, least_area=0.5 if late else 0.3))
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                logits = model(x.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), labels[index], label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += loss.item()
            decay = min(AVERAGE_DECAY, (epoch * steps + step + 1) / (epoch * steps + step + 10))
            with torch.no_grad():
                for a, p in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                    a.lerp_(p, 1 - decay) if a.is_floating_point() else a.copy_(p)
        now, _ = accuracy(average, val_images, val_labels)
        row = [epoch + 1, plan[epoch], f"{total / steps:.4f}", f"{now:.2f}", f"{time.perf_counter() - start:.0f}"]
        print("epoch {}  size {}  loss {}  top-1 {} %  {} s".format(*row), flush=True)
        with (args.out / "log.csv").open("a", newline="") as log:
            if log.tell() == 0:
                csv.writer(log).writerow(["epoch", "size_px", "loss", "top1_percent", "seconds"])
            csv.writer(log).writerow(row)
        state = {"model": model.state_dict(), "average": average.state_dict(), "epochs": epoch + 1}
        torch.save(state | {"optimiser": optimiser.state_dict()}, saved.with_suffix(".new"))
        os.replace(saved.with_suffix(".new"), saved)
    export(average, classes, val_images, val_labels, args.out)


def export(model: Tiny50, classes: list[str], images: Tensor, labels: Tensor, out: Path) -> None:
    """Fold, round to float16, measure that very file's accuracy, and write weights and figures."""
    plain = fold(model)
    halves = {name: value.half().contiguous() for name, value in plain.state_dict().items()}
    save_file(halves, out / "tiny50.safetensors", metadata={"classes": json.dumps(classes)})
    plain.load_state_dict({name: value.float() for name, value in halves.items()})
    total, each = accuracy(plain, images, labels)
    figures = {"top1_percent": round(total, 2), "per_class": dict(zip(classes, each.round().tolist(), strict=True))}
    (out / "accuracy.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(f"{out / 'tiny50.safetensors'}: top-1 {total:.2f} % on {len(images)} validation images")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="tiny_imagenet_50.zip")
    parser.add_argument("--out", type=Path, default=Path("runs/tiny50"))
    parser.add_argument("--plan", default="30x40,14x48,12x64", help="epochs x pixels, in order")
    parser.add_argument("--gentle", type=int, default=6, help="last epochs with larger crops")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="faster where the processor has it")
    train(parser.parse_args())
