"""Draw the pictures of the pages: scikit-image's coffee and cat, the bundled model, default options.

    python docs/make_pictures.py [METHOD | VIEW ...]

A row has the photo and the method's maps for two classes, on one scale: what does not change from the one to the other
is not about the class. Methods that know no class are shown at two layers. Beside the pictures, ``pictures.json`` notes
what is in them and how many images went through the network for one map; the pages take their captions from it. The
pictures of the pages on layers are ``VIEWS``.
"""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skimage.data
import torch
from PIL import Image
from torch import nn

import convscope as cs
from convscope.attribution import METHODS, Method
from convscope.comparisons.placing import photo_tile, shared_scale
from convscope.render.scale import Scale
from convscope.render.sheet import matrix
from convscope.results import Shown
from convscope.views.every_layer_map import every_layer
from convscope.views.unit_overlays import units_on_photo
from convscope.views.unit_projections import units_projected

PICTURES = Path(__file__).parent / "pictures"
OUT = PICTURES / "methods"
PHOTOS = {"coffee": ("espresso", "teapot"), "chelsea": ("tabby", "golden retriever")}
LAYERS = ("features.13", "features.18")
LARGEST_FILE = 60_000  # bytes
LARGEST_VIEW = 120_000  # many small pictures
CAT, COFFEE = skimage.data.chelsea(), skimage.data.coffee()
VIEWS: dict[str, Callable[[cs.Network], Shown]] = {
    "features": lambda net: cs.features(net, COFFEE, layer="features.8"),
    "features-every-layer": lambda net: every_layer(net, CAT, "strongest"),
    "features-overlay": lambda net: units_on_photo(net, COFFEE),
    "features-deconv": lambda net: units_projected(net, CAT, "features.8", most=6),
    "filters": lambda net: cs.filters(net, layer="features.0"),
    "filters-deeper": lambda net: cs.filters(net, layer="features.2", units=range(8)),
    "ablate": lambda net: cs.ablate(net, COFFEE, most_important=True),
}


def draw(net: cs.Network, method: Method) -> dict[str, Any]:
    """Write the picture of one method; what is to be said of it."""
    rows = [explained(net, method, photo, targets) for photo, targets in PHOTOS.items()]
    tiles = [
        [photo_tile(row[0].prediction), *(one.tile(scale_in(method, row), caption=heading(one)) for one in row)]
        for row in rows
    ]
    picture = matrix(tiles, tile_width=200, pixel_ratio=2)
    file = f"{method.name}.webp"
    (OUT / file).write_bytes(encoded(picture))
    what = " and ".join(heading(one) for one in rows[0])
    others = " and ".join(heading(one) for one in rows[1])
    scale = "each row on one scale" if share_a_scale(method) else "each map on a scale of its own"
    caption = (
        f"{method.name} of {what} (above), of {others} (below), {scale}. Photos: coffee and Chelsea the cat, from "
        f"scikit-image; model: {net.name}, which takes them for {answer(rows[0][0])} and {answer(rows[1][0])}."
    )
    alt = f"Two photos, a cup of coffee and a cat, each with two maps by {method.name}"
    return {"file": file, "alt": alt, "caption": caption, "passes": passes(net, method)}


def explained(net: cs.Network, method: Method, photo: str, targets: tuple[str, str]) -> list[cs.Explanation]:
    """The two maps of one photo."""
    image = getattr(skimage.data, photo)()
    if knows_classes(method):
        return [cs.explain(net, image, method.name, target) for target in targets]
    return [cs.explain(net, image, method.name, layer=layer) for layer in LAYERS]


def knows_classes(method: Method) -> bool:
    """A deconvnet starts at a unit, and Eigen-CAM looks at the layer alone."""
    return method.name not in ("deconvnet", "eigen-cam")


def share_a_scale(method: Method) -> bool:
    """Maps of two classes are compared, unless it is their pattern alone that counts; those of two layers are not."""
    return knows_classes(method) and method.floor == "zero"


def scale_in(method: Method, row: list[cs.Explanation]) -> Scale | None:
    """The scale of a row; None where each map has its own."""
    return shared_scale(row) if share_a_scale(method) else None


def heading(one: cs.Explanation) -> str:
    """What the map is of."""
    return str(one.layer) if one.target == "any class" else one.target


def answer(one: cs.Explanation) -> str:
    """The network's answer to the photo."""
    name, probability = one.prediction[0]
    return f"{name} ({probability:.0%})"


def passes(net: cs.Network, method: Method) -> int:
    """How many images go through the network for one map."""
    x = net.input_of(cs.read_image(skimage.data.coffee()))
    counted = 0

    def count(_module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        nonlocal counted
        counted += len(args[0])

    hook = net.module.register_forward_pre_hook(count)
    try:
        method(net.module, x, **({"generator": torch.Generator()} if "generator" in method.defaults else {}))
    finally:
        hook.remove()
    return counted


def encoded(picture: Image.Image, largest: int = LARGEST_FILE) -> bytes:
    """WebP, as good as its place allows."""
    for quality in (85, 75, 65, 55, 45, 35, 25, 15):
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=quality, method=6)
        if content.tell() <= largest:
            break
    return content.getvalue()


def draw_view(net: cs.Network, name: str) -> None:
    """The picture of a page on layers."""
    picture = VIEWS[name](net).picture()
    picture.thumbnail((1600, 2400))
    (PICTURES / "layers" / f"{name}.webp").write_bytes(encoded(picture, LARGEST_VIEW))


def main(names: list[str]) -> None:
    """All, or those that are named; notes of pictures that are not drawn again stay."""
    net = cs.load()
    if unknown := set(names) - set(VIEWS) - set(METHODS):
        sys.exit(f"no {', '.join(sorted(unknown))}; there are {', '.join([*VIEWS, *METHODS])}")
    for name in [name for name in names or VIEWS if name in VIEWS]:
        draw_view(net, name)
    notes_file = OUT / "pictures.json"
    notes = json.loads(notes_file.read_text()) if notes_file.exists() else {}
    for name in [name for name in names or METHODS if name in METHODS]:
        notes[name] = draw(net, METHODS[name])
        print(name, notes[name]["passes"], (OUT / notes[name]["file"]).stat().st_size)
    ordered = {name: notes[name] for name in METHODS if name in notes}
    notes_file.write_text(json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
