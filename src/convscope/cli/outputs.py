"""What a command writes: which forms (``--save``), and under which names."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.options import listed
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.results import Shown

MOST_LETTERS = 60  # of what was asked for, in a file's name
_REFUSED = re.compile(r'[<>"|?*\x00-\x1f\x7f]')  # by Windows, besides : / \


def endings_of(save: str) -> list[str]:
    """``"png,npz"`` -> ["png", "npz"].

    Raises:
        ConvscopeError: a form that no result has, or none at all.
    """
    from convscope.results import PICTURES

    possible = [e.removeprefix(".") for e in PICTURES] + ["html", "npz"]
    endings = listed([save])
    for ending in endings:
        if ending not in possible:
            raise ConvscopeError(f"--save {ending!r} is none of {', '.join(possible)}")
    if not endings:
        raise ConvscopeError(f"--save says nothing to write; give some of {', '.join(possible)}")
    return endings


def sheets_folder(out: Path) -> Path:
    """``out``, if sheets could be written into it; nothing is made yet.

    Raises:
        ConvscopeError: an atlas, in which only a survey writes, or no folder that can be written into.
    """
    from convscope.network.picture_folders import is_atlas
    from convscope.writing import writable_folder

    for folder in (out, *out.absolute().parents):
        if is_atlas(folder):
            raise ConvscopeError(
                f"cannot write into {out}: {'it' if folder == out else folder} is an atlas; give another folder"
            )
    if out.suffix == ".atlas":
        raise ConvscopeError(f"cannot write into {out}: that is the name of an atlas; give another folder")
    return writable_folder(out)


def stems_of(names: list[str]) -> dict[str, str]:
    """Name -> path without its ending, kept where two pictures differ in nothing else."""
    bare = {name: str(Path(name).with_suffix("")) for name in names}
    counts = Counter(bare.values())
    return {name: stem if counts[stem] == 1 else name for name, stem in bare.items()}


def name_part(asked: Sequence[str]) -> str:
    """What was asked for as a part of a file's name: ``tabby+lion``, ``features.10~3``, ``4-and-9``.

    Every system takes it: a colon becomes ~, which is in no name of a layer or class, & the word, spaces and slashes a
    hyphen. Two runs that ask for different things must not write over each other's files: where it is long, or a
    character that Windows refuses was left out, a number of eight letters made of all of it stands at the end.
    """
    joined = "+".join(asked)
    said = re.sub(r"\s*&\s*", "-and-", joined)
    said = re.sub(r"[\s/\\]+", "-", said).replace(":", "~")
    said, changed = _REFUSED.subn("_", said)
    if changed == 0 and len(said) <= MOST_LETTERS:
        return said
    return f"{said[: MOST_LETTERS - 9]}-{hashlib.sha256(joined.encode()).hexdigest()[:8]}"


def data_part(data: str) -> str:
    """For files' names: a folder's or archive's own name; ``digits-held-out`` of the part of that name in the box."""
    return name_part([data.removeprefix("bundled:") if data.startswith("bundled:") else Path(data).name])


def model_part(model: str | None, weights: str | None) -> str:
    """For files' names, since two networks have layers and classes of one name; empty for the default network."""
    is_path = model is not None and (".py:" in model or model.rstrip("/").endswith(".run"))
    spec = Path(model).name if is_path and model else model
    given = ([] if spec is None else [spec]) + ([] if weights is None else [Path(weights).stem])
    return name_part(given) if given else ""


def number_part(number: int | float) -> str:
    """A number in a file's name: short where that says all, else every digit, so that no two numbers share it."""
    short = f"{number:g}"
    return short if float(short) == number and "e+" not in short else str(number)


def print_written(done: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What a command made: one JSON document, or the files, a line each."""
    if as_json:
        print(json.dumps(done, indent=1, ensure_ascii=False))
        return
    for entry in done:
        for file in entry["files"]:
            print(file)


def save_as(result: "Shown", stem: Path, endings: list[str]) -> list[str]:
    """Write a result in every form; the files."""
    return [str(result.save(stem.with_name(f"{stem.name}.{ending}"))) for ending in endings]
