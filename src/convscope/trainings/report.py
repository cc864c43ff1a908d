"""A training as a page: what one wants to know first, then each sheet and film, then the numbers.

    report/  index.html                        plain HTML: opens from disk, without the network and without a script
             curves.png  confusion.png  ...    the sheets
             confusion.film.webp  ...          what moves; where motion is not wanted the browser shows the sheet

What a run does not have (an embedding, filters of a first convolution) is left out, and the page says why.
"""

import importlib.resources
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageOps

from convscope.errors import ConvscopeError
from convscope.network.listing import Listing, describe_layers, example_input
from convscope.network.loading import Network
from convscope.render.animation import animation, check_ending
from convscope.results import Shown
from convscope.store.run_folder import REPORT
from convscope.trainings.between_epochs import seconds_of
from convscope.trainings.confusion_over_epochs import confusion_over_epochs
from convscope.trainings.embedding_moving import check_method, embedding_moving
from convscope.trainings.filters_grown import filters_grown
from convscope.trainings.findings import findings
from convscope.trainings.layer_health import layer_health
from convscope.trainings.layer_values import layer_values
from convscope.trainings.loss_curves import LossCurves, loss_curves
from convscope.trainings.training_run import TrainingRun, open_training
from convscope.trainings.unit_maps_grown import unit_maps_grown
from convscope.wording import percent
from convscope.writing import write_file

PAGE = "index.html"
FILM_WIDTH = 560  # pixels of the page, at most
BUTTONS_PX = 56  # below a video's picture
_STAMPED = {"model_hash": "model hash, before training"}
A_MATRIX_SECONDS = 0.35  # counts are not interpolated: each matrix stands for a moment


@dataclass(frozen=True)
class Section:
    """One part of the page; ``step_seconds`` of a frame of its film, None: by their number."""

    key: str
    question: str
    says: str
    make: Callable[[TrainingRun], Shown]
    step_seconds: float | None = None


SECTIONS = (
    Section(
        "curves", "Is it learning, or learning by heart?",
        "Loss and share of right answers after each epoch, on images that it learns from (train) and on others that it "
        "never learns from (held out). Where the held-out loss rises while the other falls, the network learns its "
        "training images by heart.",
        loss_curves,
    ),
    Section(
        "confusion", "Which classes are mixed up, and since when?",
        "Blue is right, orange is wrong. The rows show when a class was learned, and since when a mistake is made.",
        confusion_over_epochs, A_MATRIX_SECONDS,
    ),
    Section(
        "embedding", "How do the classes part?",
        "A mark is a held-out image, in the colour of its class. Images that the layer says much the same of lie near "
        "each other, as far as a plane can show it: how much it keeps is written with each map.",
        embedding_moving,
    ),
    Section(
        "filters", "How did the filters grow?",
        "The first layer's weights: the first row is what chance made of them, the last what the data made of them.",
        filters_grown,
    ),
    Section(
        "layers", "Do layers die, or stand still?",
        "A layer that hardly changes learns nothing, or is frozen; a dead unit lets nothing through.",
        layer_health,
    ),
    Section(
        "values", "How do weights and values spread?",
        "How the weights of each layer lie, and what comes out of it on the held-out images. Bands that go on growing "
        "blow up; values that close round one number say the same of every image, values that sink below zero die.",
        layer_values,
    ),
    Section(
        "units", "What did the chosen units come to see?",
        "The same images, epoch after epoch: where each unit is active on them, or a picture that drives it most. A "
        "unit is named by its layer and its number, from 0.",
        unit_maps_grown,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A section with its result."""

    section: Section
    shown: Shown

    @property
    def title(self) -> str:
        """What the result says in a line."""
        return next(iter(self.shown.facts().values()))

    @property
    def alt(self) -> str:
        """The result in words, for whoever does not see the picture."""
        return ". ".join(f"{name}: {text}" for name, text in list(self.shown.facts().items())[:8])


def drawn_sections(run: TrainingRun, embedding: str | None = None) -> tuple[list[Drawn], dict[str, str]]:
    """The sections that the run has something for, and why it has nothing for the others.

    Raises:
        ConvscopeError: it has nothing for any; no such ``embedding``.
    """
    check_method(embedding)
    drawn: list[Drawn] = []
    left_out: dict[str, str] = {}
    for section in SECTIONS:
        try:
            is_embedding = section.make is embedding_moving
            drawn.append(Drawn(section, embedding_moving(run, embedding) if is_embedding else section.make(run)))
        except ConvscopeError as error:
            left_out[section.question] = str(error)
    if not drawn:
        raise ConvscopeError(f"{run.path.name} has nothing to show: {'; '.join(left_out.values())}")
    return drawn, left_out


def write_report(
    folder: str | Path,
    net: Network | None = None,
    *,
    out: str | Path | None = None,
    film: str | None = "webp",
    forms: Sequence[str] = (),
    embedding: str | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Draw a training's sheets and films, and the page that has them all.

    Args:
        folder: the run's.
        net: the network; its layers are then on the page.
        out: where to; None: ``report/`` in the run's folder.
        film: the films' ending, ``"webp"``, ``"gif"`` or ``"mp4"``; None: no films.
        forms: endings in which each sheet is saved besides ``.png``, such as ``"npz"`` for the raw values.
        embedding: ``"pca"`` or ``"t-sne"``; None: as the probe laid the images out.
        on_step: called with (done, all) after each section.

    Returns:
        The page, ``index.html``.

    Raises:
        ConvscopeError: no training, none of its snapshots can be read, another ending or embedding.
        UnwritableError: the disk is full, or the folder cannot be written into.
    """
    if film is not None:
        check_ending(film)
    run = open_training(folder)
    drawn, left_out = drawn_sections(run, embedding)
    place = run.path / REPORT if out is None else Path(out)
    layers = None if net is None else _layers(net)
    return write_pages(run, drawn, left_out, place, layers, film=film, forms=forms, on_step=on_step)


def write_pages(
    run: TrainingRun,
    drawn: Sequence[Drawn],
    left_out: Mapping[str, str],
    place: Path,
    layers: Listing | None = None,
    *,
    film: str | None = "webp",
    forms: Sequence[str] = (),
    on_step: Callable[[int, int], None] | None = None,
) -> Path:
    """What ``drawn_sections`` gave, as files in ``place``; else as ``write_report``."""
    chapters: list[dict[str, Any]] = []
    for number, one in enumerate(drawn, start=1):
        chapters.append(_written(one, place, film))
        for form in forms:
            one.shown.save(place / f"{one.section.key}.{form}")
        if on_step is not None:
            on_step(number, len(drawn))
    return write_file(place / PAGE, _page(run, drawn, chapters, left_out, layers).encode())


def _written(one: Drawn, place: Path, film: str | None) -> dict[str, Any]:
    """A section's files, and what the page says of them."""
    file = one.shown.save(place / f"{one.section.key}.png")
    chapter: dict[str, Any] = {"key": one.section.key, "question": one.section.question, "says": one.section.says}
    chapter |= {"title": one.title, "alt": one.alt, "sheet": _picture(file), "film": None}
    frames = [] if film is None else _frames(one.shown)
    if film is not None and len(frames) > 1:  # of one epoch nothing moves
        if film == "mp4":
            frames = [_with_room_below(one) for one in frames]
        each = one.section.step_seconds
        seconds = seconds_of(len(frames)) if each is None else each * len(frames)
        moving = place / f"{one.section.key}.film.{film}"
        write_file(moving, animation(frames, film, seconds=seconds))
        share = min(1.0, FILM_WIDTH / frames[0].width)
        width, height = (round(share * side) for side in frames[0].size)
        chapter["film"] = {"file": moving.name, "width": width, "height": height}
    return chapter


def _frames(shown: Shown) -> list[Image.Image]:
    made = getattr(shown, "frames", None)
    return [] if made is None else cast(list[Image.Image], made())


def _with_room_below(picture: Image.Image) -> Image.Image:
    """For what a browser lays over the foot of a video: its buttons."""
    return ImageOps.expand(picture, (0, 0, 0, BUTTONS_PX), "white")


def _picture(file: Path) -> dict[str, Any]:
    with Image.open(file) as picture:
        return {"file": file.name, "width": picture.width // 2, "height": picture.height // 2}


def _layers(net: Network) -> Listing | None:
    return describe_layers(net.module, example_input(net))


def _page(
    run: TrainingRun,
    drawn: Sequence[Drawn],
    chapters: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str],
    layers: Listing | None,
) -> str:
    import jinja2

    source = (importlib.resources.files("convscope.trainings") / "templates" / "training.html.jinja").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True).from_string(
        source
    )
    curves = next((one.shown for one in drawn if isinstance(one.shown, LossCurves)), None)
    return template.render(
        name=run.name,
        title=chapters[0]["title"],
        findings=findings([one.shown for one in drawn]),
        chapters=chapters,
        left_out=left_out,
        lacking={**{f"epoch {epoch}": why for epoch, why in run.broken.items()}, **_lacking(run)},
        notes=run.training.data.get("notes", ()),
        splits=run.splits,
        history=[] if curves is None else curves.as_json(),
        settings=_settings(run),
        layers=layers,
        stamp={_STAMPED.get(name, name): text for name, text in run.stamp.fields().items() if text not in ("", None)},
        percent=percent,
    )


def _lacking(run: TrainingRun) -> dict[str, str]:
    return {"snapshots": run.lacking()} if run.lacking() else {}


def _settings(run: TrainingRun) -> dict[str, str]:
    """What was trained on what, and how; mappings within are flattened."""
    training = run.training
    said: dict[str, Any] = {"state": training.state, "classes": ", ".join(run.classes[:30])}
    if len(run.classes) > 30:
        said["classes"] += f", and {len(run.classes) - 30} more"
    return {name: str(value) for name, value in (said | _flat(training.data) | _flat(training.settings)).items()}


def _flat(said: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in said.items():
        full = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            flat |= _flat(cast(Mapping[str, Any], value), f"{full}, ")
        elif value is not None and full != "notes":  # which the page says at its top
            flat[full] = value
    return flat
