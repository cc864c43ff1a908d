"""The effects of an ablation kept in an atlas, where a unit's dossier finds them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from convscope.atlases.data_ablations import DataAblation
from convscope.dataset.data_labels import data_labels
from convscope.dataset.image_sources import ImageSource
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.targets import Unit
from convscope.store.atlas import Atlas, open_atlas
from convscope.store.schema import AblationRow
from convscope.store.tables import add_rows
from convscope.views.unit_names import layer_of

ALL = -1  # the class number of the row of all images


def check_atlas(
    atlas: Atlas, net: Network, source: ImageSource, names: Sequence[str | Unit], labels: str = "auto"
) -> None:
    """Refuse, before anything is computed, what could not be kept in this atlas.

    Raises:
        ConvscopeError: it is of another network, of other images (all names are compared, and the contents of the first
            and the last) or of other data classes, or has not the layers; neurons and not whole units.
    """
    made_with = atlas.about.get("network", {}).get("fingerprint")
    if made_with != net.fingerprint:
        raise ConvscopeError(
            f"{atlas.path.name} was made with another network (fingerprint {made_with}, not {net.fingerprint} of "
            f"{net.name}): its units are not these"
        )
    for name in names:
        atlas.layer(layer_of(name))
        if "@" in str(name):
            raise ConvscopeError(f"{name}: an atlas keeps whole units; name {str(name).split('@')[0]}")
    _check_images(atlas, source)
    if atlas.classes and data_labels(source, net.classes, labels).classes != atlas.classes:
        kind = atlas.about["labels"]
        raise ConvscopeError(f"{atlas.path.name} has other data classes than --labels {labels} gives; it has {kind}")


def _check_images(atlas: Atlas, source: ImageSource) -> None:
    """In one walk through the names."""
    skipped, ends, here = {name for name, _ in atlas.skipped}, ("", ""), 0
    planned, unknown = atlas.images + len(skipped), ""
    try:
        for name in source.names():
            here += 1
            if name not in skipped:
                atlas.digest(name)  # refuses what is no image of the atlas
                ends = ends[0] or name, name
    except ConvscopeError as error:
        unknown = f": {error}"
    if unknown or planned != here:
        raise ConvscopeError(f"{atlas.path.name} is of {planned:,} images, and {source.line()} are others{unknown}")
    for name in filter(None, ends):
        if atlas.digest(name) != source.digest(name):
            raise ConvscopeError(f"{atlas.path.name} is of other images: {name} of {source.name} is another picture")


def keep_effects(atlas_path: Path, made: DataAblation) -> int:
    """Put the effects of single units into a finished atlas, in one transaction; how many units.

    Raises:
        ConvscopeError: sets of several units; data classes that are not the atlas's; a disk that takes no more.
    """
    atlas = open_atlas(atlas_path)
    try:
        rows = list(effect_rows(atlas, made))
    finally:
        atlas.close()
    add_rows(atlas_path, {"ablations": rows})
    return len(made.sets)


def effect_rows(atlas: Atlas, made: DataAblation) -> Iterator[AblationRow]:
    """A row a unit for all images, and one a class where the atlas has data classes."""
    numbers = {name: number for number, name in enumerate(atlas.classes)}
    by_class = made.classes if numbers else ()
    if unknown := [name for name in by_class if name not in numbers]:
        raise ConvscopeError(
            f"class {unknown[0]!r} of these labels is none of {atlas.path.name}; give the same --labels"
        )
    effects = made.effects
    for row, units in enumerate(made.sets):
        if len(units) != 1:
            raise ConvscopeError("an atlas keeps the effects of single units, not of several that are off together")
        layer, unit = atlas.layer(units[0].layer).number, units[0].unit
        yield AblationRow(
            layer, unit, made.mode, ALL, made.images, int(effects.right.sum()), int(effects.right_without[row].sum()),
            float(effects.mean_logit_drop[row]), float(effects.mean_probability_drop[row]),
        )  # fmt: skip
        for column, name in enumerate(by_class):
            if images := int(effects.images[column]):
                yield AblationRow(
                    layer, unit, made.mode, numbers[name], images, int(effects.right[column]),
                    int(effects.right_without[row, column]), float(effects.mean_logit_drop_by_class[row, column]),
                    float(effects.mean_probability_drop_by_class[row, column]),
                )  # fmt: skip
