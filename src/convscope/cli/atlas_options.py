"""Options of the commands that read an atlas: which one, the network that made it, the photos it was made of.

An atlas knows the network and the photos by the names that they were given, and by fingerprint. The commands that
need one of them again load it by these names; ``--model``, ``--weights`` and ``--data`` say where it is to be found
now. Whatever is loaded has to be what the atlas was made with: pictures of another network beside its numbers would
look right and be wrong.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli.running import say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.dataset.same_photos import SamePhotos
    from convscope.network.loading import Network
    from convscope.store.atlas import Atlas

_ATLAS = "Atlas"
AtlasPath = Annotated[Path, typer.Argument(metavar="NAME.atlas", help="An atlas that 'convscope survey' made.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PLACE",
        rich_help_panel=_ATLAS,
        show_default="as it was surveyed",
        help="Where the photos of the atlas are now, if they were moved.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", rich_help_panel=_ATLAS, show_default="as it was surveyed",
        help="The network of the atlas, if it cannot be loaded by the name that it had.",
    ),
]  # fmt: skip
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", rich_help_panel=_ATLAS, show_default="as it was surveyed", help="Likewise the file of its weights."
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the sheets.")]


def opened(path: Path) -> "Atlas":
    """The atlas at ``path``.

    Raises:
        ConvscopeError: nothing there, no atlas, one that is not finished, or one of a newer version.
    """
    from convscope.store.atlas import open_atlas

    return open_atlas(path)


def network_of(
    atlas: "Atlas",
    *,
    model: str | None = None,
    weights: str | None = None,
    trust_pickle: bool = False,
    device: str | None = None,
) -> "Network":
    """The network that the atlas was made with, loaded again.

    ``trust_pickle`` is never taken from the atlas: consent to run code is given each time.

    Raises:
        ConvscopeError: it cannot be loaded by the names in the atlas, or is another one.
    """
    from convscope.network.loading import load

    asked = _asked_again(atlas, model, weights)
    spec, file, classes = asked.pop("spec"), asked.pop("weights"), asked.pop("classes")
    try:
        net = load(spec, file, classes, None, device, trust_pickle=trust_pickle, **asked)
    except ConvscopeError as error:
        if model is not None:
            raise
        raise ConvscopeError(
            f"the network of {atlas.path.name} ({spec}) cannot be loaded: {error}; say where it is with --model and "
            "--weights"
        ) from error
    for note in net.notes:
        say(f"note: {note}")
    check_same(atlas, net)
    return net


def _asked_again(atlas: "Atlas", model: str | None, weights: str | None) -> dict[str, Any]:
    """What ``load`` is given: as the survey was, but what was said anew; another model has weights of its own."""
    kept = dict(atlas.about.get("network") or {})
    asked: dict[str, Any] = {name: kept.get(name) for name in ("spec", "weights", "classes", "size", "mean", "std")}
    if model is not None:
        asked |= {"spec": model, "weights": None}
    if weights is not None:
        asked["weights"] = weights
    if asked["spec"] is None:
        raise ConvscopeError(
            f"{atlas.path.name} was made from a module in a program ({kept.get('name', 'unnamed')}), which has no "
            "name to load it by; say with --model where it comes from"
        )
    return asked


def check_same(atlas: "Atlas", net: "Network") -> None:
    """Refuse a network whose weights are not those of the atlas."""
    kept = dict(atlas.about.get("network") or {})
    made_with = kept.get("fingerprint")
    if made_with is not None and made_with != net.fingerprint:
        raise ConvscopeError(
            f"{atlas.path.name} was made with {kept.get('name', 'another network')} (fingerprint {made_with}), but "
            f"this is {net.name} ({net.fingerprint}): its weights differ. Give the ones it was made with by --model "
            "and --weights, or survey again"
        )


def source_of_atlas(atlas: "Atlas", data: str | None = None) -> "SamePhotos":
    """The photos that the atlas was made of, at ``data`` where they were moved.

    Raises:
        ConvscopeError: they are not where they were.
    """
    from convscope.atlases.atlas_photos import source_of_atlas as found

    return found(atlas, data)
