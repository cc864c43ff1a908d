"""Draw the pictures of the page on audits, and print the numbers that stand there.

    python docs/make_audit_pictures.py FOLDER WORK [PICTURE ...]

FOLDER has the user's own weights and photos: ``models/cifar_resnet.py`` with ``models/cifar10_resnet20.safetensors``, a
ResNet-20 for CIFAR-10, ``data/cifar10_test``, 1,000 images in ten class folders, and ``data/tiny_imagenet_50.zip``, 50
classes of Tiny ImageNet in ``train`` and ``val``, with a box in each image. WORK takes what is unpacked and the pages.
"""

import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import make_atlas_pictures as others
from make_pictures import PICTURES

import convscope as cs
from convscope.atlases.data_ablations import ablate_data
from convscope.attribution.unit_ablation import ablated
from convscope.audits.audit_results import Audit, share_right
from convscope.audits.auditing import is_doubtful
from convscope.dataset.image_sources import source_of
from convscope.results import Shown

OUT = PICTURES / "training"
LIFTS = "layer3:21"  # lifts ship over airplane, and truck over automobile
WATER = ("bird/0069.jpg", "airplane/0033.jpg")
DROPS = (
    "n02129165_lion/val_3487.JPEG",
    "n02056570_king_penguin/val_243.JPEG",
    "n01983481_American_lobster/val_1050.JPEG",
)


@dataclass(frozen=True)
class Work:
    """Networks and audits, made when they are first asked for."""

    folder: Path
    work: Path

    @cached_property
    def resnet(self) -> cs.Network:
        return others.cifar_resnet(self.folder)

    @cached_property
    def cifar(self) -> Audit:
        """The ResNet over its 1,000 test images."""
        return self.saved(cs.audit(self.resnet, self.cifar_images, top=40, batch=64), "cifar")

    @property
    def cifar_images(self) -> Path:
        return self.folder / "data" / "cifar10_test"

    @cached_property
    def tiny(self) -> Audit:
        """The bundled network over 2,500 images that it was not trained on, held against the 25,000 that it was."""
        data = others.Work(self.folder, self.work).tiny
        made = cs.audit(cs.load(), data / "val", boxes=data / "boxes.csv", train=data / "train", batch=32)
        return self.saved(made, "tiny")

    def saved(self, made: Audit, name: str) -> Audit:
        """Also as a page, to be read."""
        print(made.save_page(self.work / f"{name}.audit"))
        print(*(f"{key}: {value}" for key, value in made.facts().items()), sep="\n  ")
        return made

    def print_by_area(self) -> None:
        """Errors have smaller boxes than right answers: how many maps lie outside, at boxes alike in size."""
        for says, wrong, right in self.tiny.by_area:
            print(says, f"right {share_right(wrong, right):.1%}", wrong, right, sep="\n  ")

    def print_planted(self) -> None:
        """Labels that are wrong for certain: 20 images answered rightly, each in a folder not its own."""
        rng, folder, wrong = random.Random(0), self.work / "planted", {one.name for one in self.cifar.errors}
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.cifar_images, folder)
        right = [name for name in source_of(self.cifar_images).names() if name not in wrong]
        planted: set[str] = set()
        for name in rng.sample(right, 20):
            own, _, file = name.partition("/")
            other = rng.choice([each for each in self.resnet.classes if each != own])
            (folder / name).rename(folder / other / f"planted_{own}_{file}")
            planted.add(f"{other}/planted_{own}_{file}")
        found = cs.audit(self.resnet, folder, batch=64)
        doubted = [e.name in planted for e, near in zip(found.errors, found.near, strict=True) if is_doubtful(near)]
        print("planted: in doubt", sum(doubted), "of all in doubt", len(doubted), "the first", doubted[:12])

    def print_unit_off(self) -> None:
        """What the unit that lifts two wrong classes is worth."""
        net, source = self.resnet, source_of(self.cifar_images)
        made = ablate_data(net, source, [LIFTS])
        print(LIFTS, made.title, made.summary)
        called: Counter[tuple[str, str]] = Counter()
        for name in source.names():
            logits = ablated(net.module, net.input_of(source.read(name).image), [LIFTS])
            called[name.split("/")[0], net.class_name(int(logits.argmax()))] += 1
        for pair in (("automobile", "truck"), ("airplane", "ship"), ("truck", "truck"), ("ship", "ship")):
            print("  without it", *pair, called[pair])


def rows(audit: Audit, names: Sequence[str]) -> Shown:
    """The audit with the errors of these names only."""
    shown = {one.judged.name: one for one in (*audit.shown, *audit.suspects)}
    return replace(audit, shown=tuple(shown[name] for name in names))


DRAWN: dict[str, Callable[[Work], Shown]] = {
    "audit-ships": lambda w: rows(w.cifar, WATER),
    "audit": lambda w: rows(w.tiny, DROPS),
}
CONTROL = "controls"  # numbers, no picture


def main(sources: Work, names: list[str]) -> None:
    """All and the control, or those that are named."""
    sheets = [name for name in names if name != CONTROL]
    if sheets or not names:
        others.write_all(sources, DRAWN, sheets, out=OUT)
    if CONTROL in names or not names:
        sources.print_unit_off()
        sources.print_planted()
        sources.print_by_area()


if __name__ == "__main__":
    main(Work(Path(sys.argv[1]), Path(sys.argv[2])), sys.argv[3:])
