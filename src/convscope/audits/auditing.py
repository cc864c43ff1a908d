"""Why is it wrong? One call from labelled images to an ``Audit``.

    1  every image's answer, the errors ranked by loss                                (answered)
    2  with boxes: where the maps of all answers lie, errors beside right answers     (map_places)
    3  what lies near each error in the training data                                 (nearest_images)
    4  which units lift the wrong class, for the most frequent confusions             (lifting_units)
    5  the worst errors, drawn                                                        (shown_errors)

A label is *in doubt* where the network and its training images agree against it: of the k nearest images all but one at
most are of the class that was answered, and none is of the labelled one. Both witnesses are the same network's, so that
it is a hint and no verdict: a person has to look.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from convscope.atlases.ablations_asked import first_input
from convscope.audits.answered import Answered, answered, known_labels
from convscope.audits.audit_results import Audit, Looking, images_word
from convscope.audits.lifting_units import Confusion, Lifting, confusions
from convscope.audits.map_places import Objects, Place, checked_method, mean_place, places
from convscope.audits.nearest_images import (
    NEAREST,
    Known,
    NearestImages,
    Queries,
    TrainingAtlas,
    TrainingImages,
    last_features,
    training_data,
)
from convscope.audits.shown_errors import Drawer, Near, ShownError, near_photo, nears
from convscope.dataset.concept_boxes import Boxes, read_boxes
from convscope.dataset.concepts import grid_of
from convscope.dataset.image_sources import ImageSource, notes_of, source_of, without_archive_suffix
from convscope.errors import ConvscopeError
from convscope.network.head import default_layer
from convscope.network.loading import Network
from convscope.network.preprocessing import Preprocess
from convscope.stamps import stamp

TOP, SUSPECTS = 20, 12  # errors and doubtful labels that are drawn
Step = Callable[[str, int, int], None]


def audit(
    net: Network,
    data: Any,
    *,
    boxes: str | Path | None = None,
    train: Any = None,
    top: int = TOP,
    method: str = "grad-cam",
    layer: str | None = None,
    nearest: int = NEAREST,
    labels: str = "auto",
    batch: int = 16,
    on_step: Step | None = None,
) -> Audit:
    """Why a network is wrong: its errors over labelled images, ranked by loss, each with what explains it.

    Args:
        net: from ``load``.
        data: labelled images: class folders, an archive, a Dataset, as ``survey`` takes them.
        boxes: a CSV with the columns path,x0,y0,x1,y1 (the first and last pixel) and perhaps class or label.
        train: what the errors are held against: images with labels, or an atlas of them by this network; None takes
            the data itself.
        top: how many errors are drawn.
        method: of the maps, one that gives each class a map of its own.
        layer: whose maps, units and distances are asked; None is the last map, and for the distances what the last
            linear layer is given.
        nearest: how many images near each error.
        labels: auto, folders, names or groups, of ``data`` and ``train`` alike.
        batch: images in one pass.
        on_step: called with (what is done, done, all).

    Raises:
        ConvscopeError: no labels, or none that the network knows; a method without maps of classes; boxes or training
            data that do not fit; no image that can be used.
    """
    if top < 0 or nearest < 1:
        raise ConvscopeError(f"top={top}, nearest={nearest}: draw 0 errors or more, with 1 image near each at least")
    source = source_of(data)
    work = _Work(net, source, checked_method(method).name, batch, on_step or (lambda _what, _done, _all: None))
    read = known_labels(source, net, labels)
    found_boxes = None if boxes is None else _boxes(net, source, Path(boxes))
    example = first_input(net, source)
    work.layer = layer or default_layer(net.module, example)
    work.near_layer = layer or last_features(net, example, work.layer)
    held = (
        TrainingImages(net, work.near_layer, source, read)
        if train is None
        else training_data(net, work.near_layer, train, labels)
    )
    answers = answered(
        net, source, read, work.near_layer, skipped=work.skip, batch=batch, on_image=work.counter("answers", source)
    )
    objects = None if found_boxes is None else Objects(net, found_boxes, read)
    looking = None if objects is None else work.looking(answers, objects)
    known, found = work.nearest(answers, held, nearest, is_itself=train is None)
    lifting = Lifting(net, source, work.layer, batch, example)
    often = confusions(answers, lifting, on_step=partial(work.on_step, "units"))
    drawer = Drawer(net, source, answers, checked_method(method), work.layer, objects, lifting)
    return work.made(answers, looking, often, known, found, drawer, top, train is None)


@dataclass
class _Work:
    """One audit under way: what was asked for, and what was left out."""

    net: Network
    source: ImageSource
    method: str
    batch: int
    on_step: Step
    layer: str = ""
    near_layer: str = ""
    skipped: dict[str, str] = field(default_factory=dict[str, str])
    notes: list[str] = field(default_factory=list[str])

    def skip(self, name: str, why: str) -> None:
        """A photo is left out: the first reason stands."""
        self.skipped.setdefault(name, why)

    def counter(self, what: str, source: ImageSource) -> Callable[[], None]:
        """Counts the images of one pass."""
        every, done = sum(1 for _ in source.names()), 0

        def one() -> None:
            nonlocal done
            done += 1
            self.on_step(what, done, every)

        return one

    def looking(self, answers: Answered, objects: Objects) -> Looking:
        """Where the maps of all answers lie."""
        on_image = self.counter("maps", self.source)
        misfits: dict[str, str] = {}
        asked: dict[str, Any] = {"batch": self.batch, "on_image": on_image, "skipped": misfits.__setitem__}
        method = checked_method(self.method)
        by_image = places(self.net, self.source, answers.images, objects, method, self.layer, **asked)
        if not by_image:
            why = next((f"; the first: {why}" for why in misfits.values()), "")
            raise ConvscopeError(
                f"{objects.boxes.line}: none lies on what the network sees of an image of {self.source.line()} that "
                f"was judged{why}"
            )
        self.note_of("", misfits)
        boxed = sum(objects.boxes.known(one.name) for one in answers.images)
        if hidden := boxed - len(by_image) - len(misfits):
            self.notes.append(
                f"{images_word(hidden)} with no box in the part that the network sees: left out of the places"
            )
        sides: dict[bool, list[Place]] = {False: [], True: []}
        for one in answers.images:
            if one.number in by_image:
                sides[one.is_right].append(by_image[one.number])
        return Looking(mean_place(sides[False]), mean_place(sides[True]), by_image, objects.boxes.line)

    def nearest(
        self, answers: Answered, held: TrainingImages | TrainingAtlas, most: int, *, is_itself: bool
    ) -> tuple[Known, NearestImages]:
        """What lies near the errors."""
        found = NearestImages(answers.features, most)
        queries = Queries(
            self.source, [e.name for e in answers.errors], [answers.labels.right[e.label] for e in answers.errors]
        )
        unread: dict[str, str] = {}
        told = self.skip if is_itself else unread.__setitem__
        known = held.fill(found, queries, skipped=told, batch=self.batch, on_source=self.counter)
        self.note_of("left out of the training data: ", unread)
        if found.again and not is_itself:
            self.notes.append(
                f"{images_word(len(found.again))} answered wrongly lie in the training data too, under the same label: "
                "none is counted as near itself"
            )
        return known, found

    def note_of(self, before: str, told: Mapping[str, str]) -> None:
        """One note for all: the first by name."""
        for name, why in list(told.items())[:1]:
            more = f" (and {len(told) - 1:,} more)" if len(told) > 1 else ""
            self.notes.append(f"{before}{'' if name in why else f'{name}: '}{why}{more}")

    def made(
        self,
        answers: Answered,
        looking: Looking | None,
        often: Sequence[Confusion],
        known: Known,
        found: NearestImages,
        drawer: Drawer,
        top: int,
        is_itself: bool,
    ) -> Audit:
        """The result, with its pictures."""
        rights = answers.labels.right
        near = tuple(tuple(nears(known, found, n, one, rights[one.label])) for n, one in enumerate(answers.errors))
        doubted = [rank for rank, each in enumerate(near) if is_doubtful(each)]
        drawn = list(dict.fromkeys([*range(min(top, len(near))), *doubted[:SUSPECTS]]))
        shown: dict[int, ShownError] = {}
        for done, rank in enumerate(drawn, 1):
            photos = [near_photo(known, number) for number, _ in found.of(rank)]
            shown[rank] = drawer.shown(answers.errors[rank], near[rank], photos)
            self.on_step("pictures", done, len(drawn))
        if answers.unjudged:
            self.notes.append(
                f"{images_word(answers.unjudged)} not judged: the label is no class of the network, or there is none"
            )
        return Audit(
            answers, tuple(often), looking, near, tuple(shown[rank] for rank in doubted[:SUSPECTS]), len(doubted),
            tuple(shown[rank] for rank in drawn if rank < top), self.source.line(), known.line, is_itself, self.method,
            self.layer, self.near_layer, drawer.lifting.by, self.net.classes, (*notes_of(self.source), *self.notes),
            self.skipped, stamp(self.net),
        )  # fmt: skip


def is_doubtful(near: Sequence[Near]) -> bool:
    """All but one at most of what lies near is of the answered class, and nothing of the labelled one."""
    said = [each.says for each in near]
    return bool(said) and said.count("called") >= max(1, len(said) - 1) and "expected" not in said


def _boxes(net: Network, source: ImageSource, table: Path) -> Boxes:
    if not isinstance(net.preprocess, Preprocess):
        grid_of(net.preprocess, (1, 1), (1, 1))  # refused before anything is run
    place = source.place
    folders = () if place is None or place.startswith("hf:") else Path(without_archive_suffix(place)).parts[1:]
    return read_boxes(table, source.names, folders)
