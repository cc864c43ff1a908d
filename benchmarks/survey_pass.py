"""What a survey costs beside the plain network, in time and in memory; in one run.

    python -m benchmarks.survey_pass [--rounds 15] [--batch 8] [--model SPEC --side 32] [--data photos] [--many x.zip]

The pass: forward, readings of every convolution's output and their merging, beside the same forward alone: the same
images, already decoded, the same batch and layout, one thread. ``--model`` is another network than the three.

The whole: a shard of ``--data`` swept, decoding and cutting to size included, beside decoding alone and beside decoding
and forward, with as many threads as there are cores.

Memory: what a whole survey of the first 200, 1,000, 27,500 images of ``--many`` adds at its peak, pictures left out, in
a process of its own; it must not grow with them.
"""

import argparse
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import Tensor

import convscope as cs
from benchmarks.memory import peak_mebibytes
from benchmarks.timing import as_row, interleaved
from convscope.dataset.exemplars import Exemplars
from convscope.dataset.image_sources import ImageSource, SourceImage, source_of
from convscope.dataset.planning import make_plan
from convscope.dataset.readings import Readings, read_units
from convscope.dataset.statistics import UnitStatistics
from convscope.dataset.sweep import sweep
from convscope.dataset.threads import cores, in_order, one_thread_each
from convscope.network.evaluation import evaluation
from convscope.network.loading import Network
from convscope.network.memory_layout import run_on_copy
from convscope.network.watching import watch

NETWORKS = {"squeezenet1_0": 224, "resnet50": 224, "vgg16": 224}
IMAGES = (200, 1_000, 27_500)


def build(name: str) -> Network:
    torch.manual_seed(0)
    if name in NETWORKS:
        return cs.load(torchvision.models.get_model(name, weights=None).eval())
    return cs.load(name)


def convolutions(net: Network) -> list[str]:
    return [name for name, module in net.module.named_modules() if isinstance(module, torch.nn.Conv2d)]


class Surveyed:
    """The pass of a survey over one batch, again and again as though the images were new."""

    def __init__(self, net: Network, x: Tensor) -> None:
        self.net, self.x, self.layers, self.seen = net, x, convolutions(net), 0
        self.found: dict[str, Readings] = {}
        self.kept: dict[str, tuple[UnitStatistics, Exemplars]] = {}

    def plain(self) -> None:
        with torch.no_grad():
            run_on_copy(self.net.module, self.x)

    def surveyed(self) -> None:
        with watch(self.net.module, self.layers, self.read):
            self.plain()
        numbers = np.arange(self.seen, self.seen + len(self.x))
        self.seen += len(self.x)
        for layer, readings in self.found.items():
            if layer not in self.kept:
                self.kept[layer] = UnitStatistics(readings.mean.shape[1]), Exemplars(9)
            statistics, exemplars = self.kept[layer]
            statistics.update(readings, numbers % 10, numbers)
            exemplars.update(readings, numbers)

    def read(self, layer: str, output: Tensor) -> None:
        self.found[layer] = read_units(output, (self.x.shape[2], self.x.shape[3]), layer)


def the_pass(name: str, side: int, batch: int, rounds: int) -> None:
    net = build(name)
    both = Surveyed(net, torch.randn(batch, 3, side, side))
    with evaluation(net.module):
        timings = interleaved({"forward": both.plain, "survey": both.surveyed}, reference="forward", rounds=rounds)
    print(f"{name}, {side} px, {len(both.layers)} layers, batch {batch}")
    for row, timing in timings.items():
        print(as_row(row, timing))


def the_whole(data: str, rounds: int) -> None:
    net, source, threads = build("squeezenet1_0"), source_of(data), cores()
    with tempfile.TemporaryDirectory() as folder:
        plan, _ = make_plan(net, source, Path(folder))
        shard = plan.shard(0)
        names = [image.name for image in shard.images]
        batches = [names[i : i + plan.batch] for i in range(0, len(names), plan.batch)]
        stages: dict[str, Callable[[], object]] = {
            "decoding": lambda: list(in_order(batches, functools.partial(decoded, net, source), threads)),
            "decoding, forward": lambda: list(in_order(batches, functools.partial(answered, net, source), threads)),
            "survey": lambda: sweep(net, source, plan, shard, threads=threads),
        }
        with one_thread_each(), evaluation(net.module):
            timings = interleaved(stages, reference="decoding, forward", rounds=rounds, warm_up=1)
    print(f"squeezenet1_0, a shard of {len(names)} images of {source.name}, {threads} threads")
    for row, timing in timings.items():
        print(as_row(row, timing))


def decoded(net: Network, source: ImageSource, names: list[str]) -> Tensor:
    return torch.cat([net.preprocess(source.read(name).image) for name in names])


def answered(net: Network, source: ImageSource, names: list[str]) -> Tensor:
    with torch.no_grad():
        return run_on_copy(net.module, decoded(net, source, names))


@dataclass(frozen=True)
class First:
    """The first so many images of another source."""

    source: ImageSource
    count: int
    place: None = None

    @property
    def name(self) -> str:
        return f"{self.count} of {self.source.name}"

    def line(self) -> str:
        return self.name

    def names(self) -> Iterator[str]:
        return islice(self.source.names(), self.count)

    def read(self, name: str) -> SourceImage:
        return self.source.read(name)

    def digest(self, name: str) -> bytes:
        return self.source.digest(name)

    def facts(self, name: str) -> tuple[int, int]:
        return self.source.facts(name)

    def label(self, name: str) -> str | None:
        return self.source.label(name)


def prepare_survey(data: str, images: int) -> Callable[[], object]:
    net, source = build("bundled:tiny50"), First(source_of(data), images)
    net.module(torch.zeros(1, 3, 64, 64))  # what torch sets up once is not the survey's

    def call() -> None:
        with tempfile.TemporaryDirectory() as folder:
            cs.survey(net, source, f"{folder}/a.atlas", labels="groups", pictures=False)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--model", help="another network, as convscope --model")
    parser.add_argument("--side", type=int, default=224, help="its input in pixels")
    parser.add_argument("--data", help="photos: a folder or an archive")
    parser.add_argument("--many", help="many images: a folder or an archive")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--only", choices=("pass", "whole", "memory"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.only in (None, "pass"):
        for name, side in ({asked.model: asked.side} if asked.model else NETWORKS).items():
            the_pass(name, side, asked.batch, asked.rounds)
    if asked.data and asked.only in (None, "whole"):
        the_whole(asked.data, min(asked.rounds, 5))
    if asked.many and asked.only in (None, "memory"):
        print(f"bundled:tiny50, a survey of the first images of {Path(asked.many).name}, memory at its peak")
        for images in asked.images:
            peak = peak_mebibytes(functools.partial(prepare_survey, asked.many, images))
            print(f"  {images:>7,} images {peak:8.0f} MiB")


if __name__ == "__main__":
    main()
