"""An audit as a folder that opens in a browser: ``audit.html``, its pictures, and ``audit.json`` with every number.

The page is filled from one template and works from disk: all addresses are relative, there is no script. It takes its
place whole: a run that is broken off leaves the page that was there before, or none.
"""

import importlib.resources
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.audits.audit_results import Audit, share_right
from convscope.audits.map_places import Place, Places
from convscope.audits.shown_errors import ShownError
from convscope.render.colour_bar import bar_picture
from convscope.render.confusion import confusion_matrix
from convscope.results import picture_bytes
from convscope.wording import percent
from convscope.writing import folder_aside, write_file

PAGE = "audit.html"
MOST_ROWS, MOST_CLASSES = 2000, 60  # in the table of all errors, in the confusion matrix
_PICTURES, _BAR = "pictures", 180  # points, of two pixels each


def write_page(audit: Audit, folder: Path) -> Path:
    """Write the folder; the page's path.

    Raises:
        UnwritableError: something that is no audit has the name, or it cannot be written there.
    """
    with folder_aside(folder, PAGE) as aside:
        pictures = _Pictures(audit, aside / _PICTURES)
        write_file(aside / "audit.json", json.dumps(audit.as_json(), indent=1, ensure_ascii=False).encode())
        write_file(aside / PAGE, _html(audit, pictures).encode())
    return folder / PAGE


class _Pictures:
    """Writes pictures, and says where they lie seen from the page."""

    def __init__(self, audit: Audit, folder: Path) -> None:
        self.audit, self.folder = audit, folder

    def put(self, name: str, picture: "Image.Image | None", form: str = "webp") -> str:
        """Its address; empty where there is none."""
        if picture is None:
            return ""
        path = self.folder / f"{name}.{form}"
        if not path.exists():  # an error may be shown twice
            write_file(path, picture_bytes(picture, {"webp": "WEBP", "png": "PNG"}[form], self.audit.stamp))
        return f"{_PICTURES}/{path.name}"


def _html(audit: Audit, pictures: _Pictures) -> str:
    import jinja2

    source = (importlib.resources.files("convscope.audits") / "templates" / "audit.html.jinja").read_text("utf-8")
    template = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(source)
    return template.render(
        audit=audit,
        summary=_summary(audit),
        matrix=pictures.put("confusion", _matrix(audit), "png"),
        sides=_sides(audit),
        areas=_areas(audit),
        shown=[_card(audit, each, pictures) for each in audit.shown],
        suspects=[_seen(audit, each, pictures) for each in audit.suspects],
        rows=[_table_row(audit, rank) for rank in range(min(MOST_ROWS, len(audit.errors)))],
        stamp=audit.stamp.fields(),
    )


def _summary(audit: Audit) -> list[tuple[str, str]]:
    """(number, what it says), for the head of the page."""
    errors = len(audit.errors)
    made = [(percent(audit.accuracy), "answered rightly"), (f"{errors:,}", "error" if errors == 1 else "errors")]
    if audit.looking and audit.looking.errors.images and audit.looking.right.images:
        made += [(percent(audit.looking.errors.outside), "of the errors: the map's maximum is outside the box")]
        made += [(percent(audit.looking.right.outside), "of the right answers")]
    if errors:
        made += [(f"{audit.persuaded:,}", "errors lie among images of the class that was answered")]
        made += [(f"{audit.suspected:,}", "labels in doubt: a hint")]
    return made


def _sides(audit: Audit) -> list[dict[str, Any]]:
    if audit.looking is None:
        return []
    named: Sequence[tuple[str, Places]] = [("errors", audit.looking.errors), ("right answers", audit.looking.right)]
    return [
        {"name": name, "images": f"{p.images:,}", "empty": p.empty,
         "outside": percent(p.outside), "outside_share": p.outside, "chance": percent(1 - p.area),
         "inside": percent(p.inside), "box": percent(p.area)}
        for name, p in named if p.images
    ]  # fmt: skip


def _areas(audit: Audit) -> list[dict[str, Any]]:
    """Boxes of one size: how often the answer is right, and the maximum outside."""
    made: list[dict[str, Any]] = []
    for says, wrong, right in audit.by_area:
        placed = wrong.images + right.images
        area = sum(side.images * side.area for side in (wrong, right) if side.images) / max(1, placed)
        made.append(
            {
                "says": says,
                "right": share_right(wrong, right),
                "images": placed + wrong.empty + right.empty,
                "sides": (wrong, right),
                "chance": f"{1 - area:.0%}" if placed else "–",
            }
        )
    return made


def _seen(audit: Audit, one: ShownError, pictures: _Pictures) -> dict[str, Any]:
    """What the template says of an error: the photo, and what lies near it."""
    judged, rank = one.judged, audit.errors.index(one.judged) + 1
    near = [
        {
            "picture": pictures.put(f"{rank:04}-near-{place}", photo),
            "label": each.label or "?",
            "says": each.says,
            "name": each.name,
            "distance": f"{each.distance:.2f}",
        }
        for place, (each, photo) in enumerate(zip(one.near, one.near_photos, strict=True), 1)
    ]
    return {
        "rank": rank,
        "name": judged.name,
        "label": one.label,
        "called": one.called,
        "probability": percent(judged.probability),
        "photo": pictures.put(f"{rank:04}-photo", one.photo),
        "near": near,
    }


def _card(audit: Audit, one: ShownError, pictures: _Pictures) -> dict[str, Any]:
    """All of an error: also its two maps with their scale, and the units."""
    seen = _seen(audit, one, pictures)
    bar = bar_picture(one.bar, 2 * _BAR, pixel_ratio=2)
    judged, kinds = one.judged, ("answered", "expected")
    maps = [
        {
            "picture": pictures.put(f"{seen['rank']:04}-{kind}", picture),
            "class": name,
            "probability": percent(probability),
            "empty": empty,
            "place": "" if one.places is None else _place_words(one.places[kinds.index(kind)]),
        }
        for kind, picture, name, probability, empty in zip(
            kinds,
            one.maps,
            (one.called, one.expected),
            (judged.probability, judged.expected_probability),
            one.empty,
            strict=True,
        )
    ]
    return {
        **seen,
        "expected": one.expected,
        "loss": f"{judged.loss:.2f}",
        "maps": maps,
        "bar": pictures.put(f"{seen['rank']:04}-scale", bar, "png"),
        "units": [(unit, f"{lift:+.2f}".replace("-", "−")) for unit, lift in one.units],
    }


def _place_words(place: Place) -> str:
    if place.is_empty:
        return ""
    where = "maximum outside the box" if place.outside else "maximum inside"
    return f"{place.inside:.0%} inside the box ({place.area:.0%} of the picture), {where}"


def _table_row(audit: Audit, rank: int) -> dict[str, str]:
    one, near = audit.errors[rank], audit.near[rank]
    place = audit.looking.by_image.get(one.number) if audit.looking else None
    return {
        "rank": str(rank + 1),
        "name": one.name,
        "label": audit.label_of(one),
        "called": audit.called(one),
        "loss": f"{one.loss:.2f}",
        "probability": percent(one.probability),
        "near": ", ".join(each.label or "?" for each in near),
        "inside": "" if place is None or place.is_empty else f"{place.inside:.0%}",
        "outside": "" if place is None or place.is_empty else "yes" if place.outside else "no",
    }


def _matrix(audit: Audit) -> "Image.Image | None":
    """All data classes against all answers, where there are not too many."""
    labels, table = audit.answers.labels, audit.answers.table
    known = [number for number, right in enumerate(labels.right) if right]
    answers = sorted({c for d, c in table.confusion if labels.right[d]} | {c for d in known for c in labels.right[d]})
    if max(len(known), len(answers)) > MOST_CLASSES:
        return None
    order = sorted(answers, key=lambda c: next((at for at, d in enumerate(known) if c in labels.right[d]), len(known)))
    counts = np.array([[table.confusion.get((d, c), 0) for c in order] for d in known], np.int64)
    right = np.array([[c in labels.right[d] for c in order] for d in known], bool)
    names = [audit.classes[c] if audit.classes else f"class {c}" for c in order]
    return confusion_matrix(counts, right, [labels.classes[d] for d in known], names)
