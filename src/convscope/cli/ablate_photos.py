"""``convscope ablate`` picture by picture: a sheet each, with the answer before and after."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.outputs import name_part, print_written, save_as, stems_of
from convscope.cli.running import say
from convscope.cli.sources import Photos

if TYPE_CHECKING:
    from PIL import Image

    from convscope.network.loading import Network
    from convscope.results import Prediction
    from convscope.views.unit_effects import Ablation

BATCH = 32


def ablate_photos(
    net: "Network",
    photos: Photos,
    asked: dict[str, Any],
    *,
    data: Path | None,
    most: int | None,
    batch: int | None,
    out: Path,
    endings: list[str],
    as_json: bool,
) -> int:
    """A sheet a picture, and what became of each; the exit code. ``asked``: of ``views.unit_effects.ablate``."""
    from convscope.cli.progress import Parts, bar
    from convscope.views.reference_photos import ReferencePhotos
    from convscope.views.unit_effects import ablate

    parts, reference, request = Parts(), None, dict(asked, seed=asked["seed"] or 0)
    if data is not None:  # one for all photos, so that a mean is taken once
        reference = ReferencePhotos(net, data, most=most, batch=batch or BATCH, on_step=parts)

    def one(name: str, photo: "Image.Image") -> "Ablation":
        step(name)
        return ablate(net, photo, data=reference, **request)

    stems, kind = stems_of(list(photos.names)), _kind(asked, data, most)
    with bar(len(photos.names), "ablate", parts) as step:
        done = [_write(name, made, out / f"{stems[name]}.{kind}", endings) for name, made in photos.each(one)]
    photos.refuse_if_none()
    print_written(done, as_json=as_json)
    return photos.finish()


def _kind(asked: dict[str, Any], data: Path | None, most: int | None) -> str:
    """What was asked for, for the files' names."""
    count = asked["count"]
    what = list(asked["units"] or ["most-important", "" if count is None else str(count), asked["layer"] or ""])
    numbers = [str(n) for n in (most, asked["seed"]) if n is not None]
    by = [] if data is None else [asked["mode"], data.resolve().name, *numbers]
    return ".".join(["ablate", name_part([part for part in (*what, asked["target"] or "", *by) if part])])


def _write(name: str, made: "Ablation", stem: Path, endings: list[str]) -> dict[str, Any]:
    say(f"{name}: {made!r}")
    for note in made.notes:
        say(f"{name}: note: {note}")
    before, after = (float(seen.logits[made.target_index]) for seen in (made.before, made.after))
    return {
        "image": name,
        "files": save_as(made, stem, endings),
        "units": [str(unit) for unit in made.units],
        "importance": list(made.importance),
        "replaced_by": made.replaced_by,
        "target": made.target,
        "logit": {"before": before, "after": after, "drop": made.drop},
        "probability": dict(zip(("before", "after"), made.probabilities, strict=True)),
        "before": _top(made.before),
        "after": _top(made.after),
        "notes": list(made.notes),
    }


def _top(seen: "Prediction") -> list[dict[str, Any]]:
    logits = seen.logits[list(seen.indices)].tolist()
    return [{"class": n, "probability": p, "logit": v} for (n, p), v in zip(seen, logits, strict=True)]
