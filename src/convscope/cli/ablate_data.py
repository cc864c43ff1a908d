"""``convscope ablate`` over a data set: the table, the sheet and the numbers of what each unit costs."""

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.outputs import name_part, save_as
from convscope.cli.running import DONE, SKIPPED, say, say_skipped
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.atlases.data_ablations import DataAblation
    from convscope.dataset.image_sources import ImageSource
    from convscope.network.loading import Network

TOP = 20
_MOST_NAMED = 20  # images left out


def ablate_over(
    path: Path,
    load: "Callable[[], Network]",
    asked: dict[str, Any],
    *,
    top: int | None,
    into: Path | None,
    threads: int | None,
    resume: bool,
    out: Path,
    endings: list[str],
    as_json: bool,
) -> int:
    """Rank the units, print, write; the exit code. ``asked``: of ``atlases.data_ablations.ablate_data``."""
    from convscope.atlases.ablation_rows import check_atlas, keep_effects
    from convscope.atlases.ablations_asked import check_request
    from convscope.atlases.data_ablations import ablate_data
    from convscope.cli.kept_work import kept_work, network_asked
    from convscope.cli.progress import counted
    from convscope.dataset.image_sources import source_of
    from convscope.store.atlas import open_atlas

    names = check_request(asked["units"], asked["layer"], mode=asked["mode"])
    source = source_of(str(path), besides=out)
    if into is not None and asked["together"]:
        raise ConvscopeError("--into keeps what each unit costs alone: leave out --together")
    atlas = None if into is None else open_atlas(into)
    net = load()
    if atlas is not None:
        check_atlas(atlas, net, source, names, asked["labels"])
    request = {**network_asked(net), **asked, "data": source.place, "images": _images_hash(source)}
    with kept_work(out, "ablate", request, resume=resume) as keeper, counted("ablate") as on_step:
        made = ablate_data(net, source, threads=threads, on_step=on_step, keeper=keeper, **asked)
        files = save_as(made, out / f"{source.name}.{_kind(asked)}", endings)
        if into is not None:
            keep_effects(into, made)
    for note in made.notes:
        say(f"note: {note}")
    if into is not None:
        say(f"kept in {into}: the effects of {len(made.sets)} units")
    if as_json:
        print(json.dumps(document(made, files), indent=1, ensure_ascii=False))
    else:
        print_ranking(made, top or TOP)
        for file in files:
            print(file)
    return _say_skipped(made)


def _images_hash(source: "ImageSource") -> str:
    """Over every image's name, size and time of change: what is kept of other images is not gone on from."""
    digest = hashlib.sha256()
    for name in source.names():
        digest.update(f"{name}\0{source.facts(name)}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _kind(asked: dict[str, Any]) -> str:
    """What was asked for, for the files' names."""
    what = [*(asked["units"] or []), *asked["layer"], asked["mode"] if asked["mode"] != "zero" else ""]
    what += ["together" if asked["together"] else "", asked["labels"] if asked["labels"] != "auto" else ""]
    return f"ablate.{name_part([part for part in what if part])}"


def print_ranking(made: "DataAblation", top: int) -> None:
    """The table on stdout: the most costly units first."""
    from rich.text import Text

    from convscope.atlases.ablation_sheets import hurt_text
    from convscope.atlases.data_ablations import points
    from convscope.cli.tables import new_table, print_table

    effects, table = made.effects, new_table()
    for heading in ("rank", "unit", "accuracy", "points", "lost", "won", "right logit", "probability", "hurt most"):
        table.add_column(heading, justify="left" if heading in ("unit", "hurt most") else "right")
    for place, number in enumerate(made.ranking[:top], 1):
        right = effects.right_without[number].sum() / max(1, made.images)
        cells = [str(place), made.names[number], f"{right:.1%}", points(-float(effects.lost[number]))]
        cells += [str(int(effects.wrong_now[number].sum())), str(int(effects.won[number].sum()))]
        cells += [
            signed(-float(effects.mean_logit_drop[number])),
            signed(-float(effects.mean_probability_drop[number])),
        ]
        hurt = ", ".join(hurt_text(made, number, column) for column in made.most_hurt(number))
        table.add_row(*(Text(cell) for cell in (*cells, hurt)))
    more = len(made.sets) - top
    below = [f"{more} more units: --top {len(made.sets)} shows all"] if more > 0 else []
    if made.cells == "probability":
        below.append("hurt most: points of the right class's probability, as classes have few images or lose no answer")
    print_table(table, above=[made.title, made.summary], below=below)


def signed(value: float) -> str:
    """``−0.381``."""
    return f"{value:+.3f}".replace("-", "−")


def document(made: "DataAblation", files: list[str]) -> dict[str, Any]:
    """The JSON: the ranking with counts; classes in lists in the order of ``classes``, null where without an image."""
    effects = made.effects
    present = [number for number, images in enumerate(effects.images.tolist()) if images]
    units = [
        {
            "unit": made.names[number],
            "accuracy": _number(effects.right_without[number].sum() / max(1, made.images)),
            "points_lost": _number(effects.lost[number]),
            "correct": int(effects.right_without[number].sum()),
            "lost": int(effects.wrong_now[number].sum()),
            "won": int(effects.won[number].sum()),
            "logit_drop": _number(effects.mean_logit_drop[number]),
            "probability_drop": _number(effects.mean_probability_drop[number]),
            "hurt_most": [made.classes[column] for column in made.most_hurt(number)],
            "by_class": {
                "points_lost": [_number(v) for v in effects.lost_by_class[number, present]],
                "correct": effects.right_without[number, present].tolist(),
                "logit_drop": [_number(v) for v in effects.mean_logit_drop_by_class[number, present]],
                "probability_drop": [_number(v) for v in effects.mean_probability_drop_by_class[number, present]],
            },
        }
        for number in made.ranking
    ]
    return {
        "data": made.data_line,
        "images": made.images,
        "skipped": dict(made.refused),
        "mode": made.mode,
        "judged_by": made.judged_by,
        "accuracy": _number(effects.accuracy),
        "correct": int(effects.right.sum()),
        "classes": [made.classes[number] for number in present],
        "by_class": {"images": effects.images[present].tolist(), "correct": effects.right[present].tolist()},
        "units": units,
        "files": files,
        "notes": list(made.notes),
    }


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _say_skipped(made: "DataAblation") -> int:
    for name, why in list(made.refused.items())[:_MOST_NAMED]:
        say_skipped(name, why)
    if (more := len(made.refused) - _MOST_NAMED) > 0:
        say(f"and {more} more images skipped")
    return SKIPPED if made.refused else DONE
