"""Draw the pictures of the pages on surveys and units: contact sheets, crops beside deconvnet pictures, a dossier.

    python docs/make_atlas_pictures.py FOLDER WORK [PICTURE ...]

FOLDER has the user's own weights and photos: ``models/squeezenet1_0_imagenet.safetensors`` for torchvision's SqueezeNet
1.0, ``data/imagenet_photos``, 200 photos of as many classes, and ``data/tiny_imagenet_50.zip``, 50 classes of Tiny
ImageNet in ``train`` and ``val``. WORK takes what is unpacked and the atlases; a second run goes on with them.
"""

import contextlib
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from make_pictures import PICTURES, encoded
from PIL import Image

import convscope as cs
from convscope.atlases.ablation_rows import keep_effects
from convscope.atlases.added_pictures import add_deconvs, add_synthetics
from convscope.atlases.atlas_photos import source_of_atlas
from convscope.atlases.contact_sheets import contact_sheet
from convscope.atlases.data_ablations import ablate_data
from convscope.atlases.dossiers import dossier
from convscope.atlases.patch_hierarchies import patch_hierarchy, units_at_even_steps
from convscope.network.targets import Unit
from convscope.results import Shown

OUT = PICTURES / "atlas"
LARGEST_FILE = 250_000  # bytes
SHOWN = (1300, 2200)  # px at most
FEW = (3, 12, 14, 22, 32, 41, 62, 80)  # units of the first layer: edges, lines, grids, colours, a black field
MUZZLES, ELEPHANTS = Unit("features.12.expand3x3", 128), Unit("features.17", 0)
TINY = "tiny_imagenet_50"


@dataclass(frozen=True)
class Work:
    """Networks and atlases, made when they are first asked for."""

    folder: Path
    work: Path

    @cached_property
    def squeezenet(self) -> cs.Network:
        weights = self.folder / "models" / "squeezenet1_0_imagenet.safetensors"
        return cs.load("torchvision:squeezenet1_0", weights=weights)

    @cached_property
    def photos(self) -> cs.Atlas:
        """SqueezeNet over 200 photos."""
        return survey(self.squeezenet, self.folder / "data" / "imagenet_photos", self.work / "photos.atlas")

    @cached_property
    def bundled(self) -> cs.Network:
        return cs.load()

    @cached_property
    def val(self) -> cs.Atlas:
        """The bundled network over 2,500 images that it was not trained on."""
        return survey(self.bundled, self.tiny / "val", self.work / "val.atlas")

    @cached_property
    def train(self) -> cs.Atlas:
        """The bundled network over the 25,000 images that it was trained on."""
        return survey(self.bundled, self.tiny / "train", self.work / "train.atlas")

    @property
    def tiny(self) -> Path:
        if not (self.work / TINY).is_dir():
            with zipfile.ZipFile(self.folder / "data" / f"{TINY}.zip") as archive:
                archive.extractall(self.work)
        return self.work / TINY


def cifar_resnet(folder: Path) -> cs.Network:
    """The user's own ResNet-20, called from its folder so that the pictures' footers have no path."""
    with contextlib.chdir(folder / "models"):
        return cs.load("cifar_resnet.py:resnet20", "cifar10_resnet20.safetensors")


def survey(net: cs.Network, data: Path, out: Path) -> cs.Atlas:
    """With default options."""
    return cs.survey(net, data, out, resume=True, on_note=print)


def with_deconvs(atlas: cs.Atlas, net: cs.Network, units: list[Unit]) -> cs.Atlas:
    """Those of these units that are not there yet are made and kept."""
    add_deconvs(atlas, net, source_of_atlas(atlas), units)
    return atlas


def hierarchy(atlas: cs.Atlas, net: cs.Network) -> Shown:
    """Crops beside their deconvnet pictures, units at even steps through five layers."""
    units = units_at_even_steps(atlas)
    return patch_hierarchy(with_deconvs(atlas, net, units), units, chosen=True)


def whole(atlas: cs.Atlas, net: cs.Network, unit: Unit) -> Shown:
    """A unit's dossier with all that can be in it but ablations."""
    add_synthetics(with_deconvs(atlas, net, [unit]), net, [unit])
    return dossier(atlas, unit)


def ablated(atlas: cs.Atlas, net: cs.Network, unit: Unit) -> cs.Atlas:
    """With the effect of switching the unit off."""
    if not atlas.ablation(str(unit)):
        keep_effects(atlas.path, ablate_data(net, source_of_atlas(atlas), [str(unit)]))
    return cs.open_atlas(atlas.path)


DRAWN: dict[str, Callable[[Work], Shown]] = {
    "contact": lambda w: contact_sheet(w.photos, "features.0", FEW, net=w.squeezenet),
    "layers-squeezenet": lambda w: hierarchy(w.photos, w.squeezenet),
    "layers-bundled": lambda w: hierarchy(w.val, w.bundled),
    "layers-bundled-train": lambda w: hierarchy(w.train, w.bundled),
    "dossier": lambda w: whole(ablated(w.val, w.bundled, ELEPHANTS), w.bundled, ELEPHANTS),
    "dossier-squeezenet": lambda w: whole(w.photos, w.squeezenet, MUZZLES),
}


def drawn(picture: Image.Image) -> bytes:
    """As large as a page shows it."""
    small: Any = picture.copy()
    small.thumbnail(SHOWN, Image.Resampling.LANCZOS)
    return encoded(small, LARGEST_FILE)


def write_all(
    sources: Any,
    sheets: Mapping[str, Callable[[Any], Any]],
    names: list[str],
    after: Callable[[str, Any], None] = lambda _name, _sheet: None,
    out: Path = OUT,
) -> None:
    """Draw the sheets, or those that are named, from ``sources``: write each as a picture, and print what it says."""
    if unknown := set(names) - set(sheets):
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join(sheets)}")
    out.mkdir(parents=True, exist_ok=True)
    sources.work.mkdir(parents=True, exist_ok=True)
    for name in names or sheets:
        sheet = sheets[name](sources)
        content = drawn(sheet.picture())
        (out / f"{name}.webp").write_bytes(content)
        print(name, len(content), *(f"{key}: {value}" for key, value in sheet.facts().items()), sep="\n  ", flush=True)
        after(name, sheet)


if __name__ == "__main__":
    write_all(Work(Path(sys.argv[1]), Path(sys.argv[2])), DRAWN, sys.argv[3:])
