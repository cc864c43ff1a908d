"""Draw the pictures of the pages on dissection and embedding, and print the numbers that stand there.

    python docs/make_atlas_dissection_pictures.py FOLDER WORK [PICTURE ...]

FOLDER has the user's own weights and photos: ``models/cifar_resnet.py`` with ``models/cifar10_resnet20.safetensors``, a
ResNet-20 for CIFAR-10, ``data/cifar10_test``, 1,000 images in ten class folders, and ``data/tiny_imagenet_50.zip``, 50
classes of Tiny ImageNet in ``train`` and ``val``, with a box in each image. WORK takes what is unpacked.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import make_atlas_pictures as others
import torch

import convscope as cs
from convscope.atlases.dissections import Dissection, dissect
from convscope.atlases.embeddings import embed_data
from convscope.results import Shown

RELUS = [f"features.{number}" for number in (1, 3, 6, 8, 11, 13, 16, 18)]


@dataclass(frozen=True)
class Work:
    """Networks and dissections, made when they are first asked for."""

    folder: Path
    work: Path

    @property
    def images(self) -> Path:
        """2,500 images that the bundled network was not trained on."""
        return others.Work(self.folder, self.work).tiny / "val"

    @cached_property
    def resnet(self) -> cs.Network:
        return others.cifar_resnet(self.folder)

    @cached_property
    def dissected(self) -> dict[str, Dissection]:
        """Every ReLU of the bundled network."""
        return self._dissected(cs.load())

    def print_untrained(self) -> None:
        """The same with random weights, such as it began its training with: the page's control."""
        net = cs.load()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for module in net.module.modules():
                getattr(module, "reset_parameters", lambda: None)()
        self._dissected(net)

    def _dissected(self, net: cs.Network) -> dict[str, Dissection]:
        made = dissect(net, self.images, self.images.parent / "boxes.csv", layers=RELUS, rows=6, batch=32)
        for layer, one in made.items():
            best = one.table.iou.max(1)
            print(layer, len(one.detectors), "of", one.units, "unique", len(one.unique), end=" ")
            print(f"best {best.max():.3f} median {sorted(best)[len(best) // 2]:.3f}")
        return made

    def embedded(self, layer: str, method: str) -> Shown:
        """A layer of the ResNet over 1,000 test images."""
        one = embed_data(self.resnet, self.folder / "data" / "cifar10_test", layer, method, batch=64)
        print(layer, method, "alike", one.alike)
        return one


DRAWN: dict[str, Callable[[Work], Shown]] = {
    "embedding": lambda w: w.embedded("layer3", "t-sne"),
    "embedding-layer1": lambda w: w.embedded("layer1", "t-sne"),
    "embedding-pca": lambda w: w.embedded("layer3", "pca"),
    "dissection": lambda w: w.dissected["features.18"],
    "dissection-first": lambda w: w.dissected["features.1"],
}
CONTROL = "untrained"  # numbers, no picture


def main(sources: Work, names: list[str]) -> None:
    """All and the control, or those that are named."""
    sheets = [name for name in names if name != CONTROL]
    if sheets or not names:
        others.write_all(sources, DRAWN, sheets)
    if CONTROL in names or not names:
        sources.print_untrained()


if __name__ == "__main__":
    main(Work(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3:])
