"""Draw the pictures of the page on ablation over data: rankings of the last maps of two networks, at zero and the mean.

    python docs/make_atlas_ablation_pictures.py FOLDER WORK [PICTURE ...]

FOLDER has the user's own weights and photos: ``models/cifar_resnet.py`` with ``models/cifar10_resnet20.safetensors``, a
ResNet-20 for CIFAR-10, ``data/cifar10_test``, 1,000 images in ten class folders, and ``data/tiny_imagenet_50.zip``, 50
classes of Tiny ImageNet in ``train`` and ``val``. WORK takes what is unpacked. What the page says of units that are off
together is printed too.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import make_atlas_pictures as others

import convscope as cs
from convscope.atlases.data_ablations import DataAblation, ablate_data

LAYER, LAST = "layer3", "features.18"


@dataclass(frozen=True)
class Work:
    """The networks and the images."""

    folder: Path
    work: Path

    @cached_property
    def resnet(self) -> cs.Network:
        return others.cifar_resnet(self.folder)

    @property
    def cifar(self) -> Path:
        return self.folder / "data" / "cifar10_test"

    @property
    def val(self) -> Path:
        """2,500 images that the bundled network was not trained on."""
        return others.Work(self.folder, self.work).tiny / "val"


DRAWN: dict[str, Callable[[Work], DataAblation]] = {
    "ablation": lambda w: ablate_data(w.resnet, w.cifar, layer=LAYER),
    "ablation-mean": lambda w: ablate_data(w.resnet, w.cifar, layer=LAYER, mode="mean"),
    "ablation-tiny": lambda w: ablate_data(cs.load(), w.val, layer=LAST),
}


def say_together(work: Work, made: DataAblation) -> None:
    """What the units of the lower parts of the ranking cost one at a time, added up, and all at once."""
    for count in (16, 32, 48):
        last = list(made.ranking[-count:])
        together = ablate_data(work.resnet, work.cifar, [made.names[number] for number in last], together=True)
        print(f"  last {count}: {made.effects.lost[last].sum():.1f} points, together {together.effects.lost[0]:.1f}")


def main(sources: Work, names: list[str]) -> None:
    """All, or those that are named."""

    def after(name: str, made: DataAblation) -> None:
        if name == "ablation":
            say_together(sources, made)

    others.write_all(sources, DRAWN, names, after)


if __name__ == "__main__":
    main(Work(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3:])
