"""Draw the pictures of the pages on statistics and prototypes: sheets of two atlases.

    python docs/make_atlas_statistics_pictures.py FOLDER WORK [PICTURE ...]

FOLDER has the user's own weights and photos: ``models/cifar_resnet.py`` with ``models/cifar10_resnet20.safetensors``, a
ResNet-20 for CIFAR-10, ``data/cifar10_test``, 1,000 images in ten class folders, and ``data/tiny_imagenet_50.zip``, 50
classes of Tiny ImageNet in ``train`` and ``val``. WORK takes what is unpacked and the atlases; a second run goes on
with them.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import make_atlas_pictures as others

import convscope as cs
from convscope.atlases.class_activations import class_activations
from convscope.atlases.class_patterns import mean_patterns
from convscope.atlases.confusions import confusions
from convscope.atlases.neighbours import neighbours
from convscope.atlases.one_unit_statistics import unit_statistics
from convscope.atlases.prototypes import prototypes, suspects
from convscope.atlases.statistics_sheets import layer_statistics, network_statistics
from convscope.cli.explain_prototypes import prototype_photos
from convscope.results import Shown

RELUS = [f"features.{number}" for number in (1, 3, 6, 8, 11, 13, 16, 18)]
BLOCKS = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
LAST, UNIT = RELUS[-1], "features.18:220"
NEAR = (220, 101, 9, 19)  # units of it


@dataclass(frozen=True)
class Work:
    """The atlases, made when they are first asked for."""

    folder: Path
    work: Path

    @cached_property
    def tiny(self) -> cs.Atlas:
        """The bundled network over 2,500 images that it was not trained on."""
        images = others.Work(self.folder, self.work).tiny / "val"
        return self._survey(cs.load(), images, RELUS, "tiny")

    @cached_property
    def cifar(self) -> cs.Atlas:
        """The ResNet over 1,000 test images."""
        return self._survey(others.cifar_resnet(self.folder), self.folder / "data" / "cifar10_test", BLOCKS, "cifar")

    def _survey(self, net: cs.Network, images: Path, layers: list[str], name: str) -> cs.Atlas:
        return cs.survey(net, images, self.work / f"{name}.atlas", layers, resume=True, on_note=print)


def explained(atlas: cs.Atlas, classes: list[str]) -> Shown:
    """What ``convscope explain --prototypes`` draws."""
    chosen = prototype_photos(atlas.path, None, classes, {}, model=[], weights=[], trust_pickle=False, device=None)
    plan = chosen.plan(methods=["grad-cam", "guided-grad-cam", "occlusion"], layers=[], shared=None, options={})
    if plan.whole_folder is None:
        raise AssertionError("prototypes make one sheet of all classes")
    return plan.whole_folder({name: read() for name, read in chosen.photos.readers.items()}, print)


DRAWN: dict[str, Callable[[Work], Shown]] = {
    "statistics-classes": lambda w: class_activations(w.cifar, "layer3.2"),
    "statistics-patterns": lambda w: mean_patterns(w.tiny, LAST),
    "statistics-network": lambda w: network_statistics(w.tiny),
    "statistics-layer": lambda w: layer_statistics(w.tiny, LAST),
    "statistics-unit": lambda w: unit_statistics(w.tiny, UNIT),
    "neighbours": lambda w: neighbours(w.tiny, [f"{LAST}:{unit}" for unit in NEAR], top=5),
    "prototypes": lambda w: prototypes(w.tiny),
    "prototypes-cifar": lambda w: prototypes(w.cifar),
    "suspects": lambda w: suspects(w.tiny, 15),
    "confusion-cifar": lambda w: confusions(w.cifar),
    "confusion": lambda w: confusions(w.tiny),
    "prototypes-explained": lambda w: explained(w.tiny, ["beacon", "monarch", "school bus", "spider web"]),
}


if __name__ == "__main__":
    others.write_all(Work(Path(sys.argv[1]), Path(sys.argv[2])), DRAWN, sys.argv[3:])
