"""``convscope explain --prototypes NAME.atlas``: classes x methods, each class by its own photo.

Of each class of an atlas the photo of least loss, which the network is surest of, explained for that class by the
network that the atlas was made with: what it looks at where it is surest of itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli import atlas_options
from convscope.cli.explain_plan import Plan, Request, check_names
from convscope.cli.method_options import for_networks, in_words
from convscope.cli.outputs import name_part
from convscope.cli.running import say
from convscope.cli.sources import Photos
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from PIL import Image

    from convscope.comparisons import Step
    from convscope.dataset.same_photos import SamePhotos
    from convscope.network.loading import Network
    from convscope.results import Comparison
    from convscope.store.atlas import Atlas

MOST_CLASSES = 10  # where none are named
KIND = "least loss"


@dataclass(frozen=True)
class Prototyped:
    """The photos by class, and the network's class that each is explained for."""

    atlas: "Atlas"
    net: "Network"
    photos: Photos
    targets: Mapping[str, int]
    asked: tuple[str, ...]

    def plan(self, *, methods: list[str], layers: list[str], shared: bool | None, options: Mapping[str, Any]) -> Plan:
        """The sheet: classes x methods, or of one method classes x layers."""
        from convscope.attribution.registry import find_method
        from convscope.comparisons import compare_photos

        every = "all" in methods
        wanted = [] if every else [find_method(name).name for name in methods]
        chosen = for_networks([self.net], options)
        request = Request([self.net], wanted, every, [], layers, chosen, shared, in_words(options))
        check_names(request)
        by_layer = len(layers) > 1
        columns, note = (layers, "") if by_layer else request.methods_of_a_sheet()
        method = request.one_method() if by_layer else "grad-cam"
        if not by_layer:
            request.refuse_unused(columns)

        def whole(photos: Mapping[str, Any], step: "Step") -> "Comparison":
            return compare_photos(
                self.net, photos, columns, by="layer" if by_layer else "method", method=method, targets=self.targets,
                layer=None if by_layer else request.layer, shared=bool(shared), options=chosen, step=step,
                skip_refused=not wanted and not by_layer, title="What the network looks at where it is surest",
            )  # fmt: skip

        asked = [name_part(self.asked)] if self.asked else []
        # named otherwise than the sheet of `convscope prototypes`, which lies in the same folder
        kind = request.named(".".join(["prototypes", *asked, name_part(wanted) or "methods"]))
        stem = name_part([self.atlas.path.stem])
        return Plan(kind, len(columns), _refused, whole, note, stem)


def _refused(_photo: Any, _step: Any) -> "Comparison":
    raise AssertionError("prototypes make one sheet of all classes")


def prototype_photos(
    path: Path,
    data: str | None,
    classes: list[str],
    others: Mapping[str, object],
    *,
    model: list[str],
    weights: list[str],
    trust_pickle: bool,
    device: str | None,
) -> Prototyped:
    """The prototypes of an atlas, and its network.

    ``others`` are the options that ask for another sheet, or describe a network: none of them may be given.

    Raises:
        ConvscopeError: two sheets at once, no such atlas, network or class, or photos that are nowhere.
    """
    given = [name for name, value in others.items() if value not in (None, False, [])]
    if given or len(model) > 1 or len(weights) > 1:
        what = given[0] if given else "several --model or --weights"
        raise ConvscopeError(f"--prototypes takes photos and network from the atlas: leave out {what}")
    atlas = atlas_options.opened(path)
    source = atlas_options.source_of_atlas(atlas, data)
    rows = _rows(atlas, classes)
    net = atlas_options.network_of(
        atlas, model=_only(model), weights=_only(weights), trust_pickle=trust_pickle, device=device
    )
    readers = {name: _reader(source, row["image"]) for name, row in rows.items()}
    targets = {name: _target(atlas, name, row) for name, row in rows.items()}
    photos = Photos(Path(source.name), readers, True)
    return Prototyped(atlas, net, photos, targets, tuple(rows) if classes else ())


def _rows(atlas: "Atlas", asked: list[str]) -> dict[str, Mapping[str, Any]]:
    """Class -> its image of least loss; of many classes the first few, which is said."""
    from convscope.atlases.classes_asked import classes_asked

    wanted = classes_asked(asked or None, atlas.classes, atlas)
    found: dict[str, Mapping[str, Any]] = {}
    for name in wanted or atlas.classes:
        kept = atlas.prototypes(name)[KIND]
        if kept and (wanted or len(found) < MOST_CLASSES):
            found[name] = kept[0]
        elif wanted:
            raise ConvscopeError(f"class {name!r} is none of the network's: it has no photo of least loss")
    if not found:
        raise ConvscopeError(f"no class of {atlas.path.name} is one of the network's: there are no prototypes")
    if not wanted and len(atlas.classes) > len(found):
        say(f"note: the first {len(found)} of {len(atlas.classes)} classes; --target names others")
    return found


def _target(atlas: "Atlas", name: str, row: Mapping[str, Any]) -> int:
    """The network's class: of several that are right the one that was answered, if it is among them."""
    right = atlas.right(name)
    return row["predicted"] if row["predicted"] in right else right[0]


def _reader(source: "SamePhotos", image: str) -> "Callable[[], Image.Image]":
    return lambda: source.read(image).image


def _only(values: list[str]) -> str | None:
    return values[0] if values else None
