"""``--animate``: where an animation goes, checked before anything is made."""

from pathlib import Path
from typing import TYPE_CHECKING

from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image


def check_film(animate: str | None, *, results: int) -> None:
    """Refuse an ending that cannot be written, a place that cannot be written to, and one file for many results.

    Args:
        animate: a file, or only its ending; None is no animation.
        results: how many there will be.
    """
    from convscope.render.animation import ENDINGS, check_ending
    from convscope.writing import writable_file

    if animate is None:
        return
    ending = _ending(animate)
    if not ending:
        raise ConvscopeError(f"--animate {animate!r}: give a file that ends in .{', .'.join(ENDINGS)}, or the ending")
    check_ending(ending)
    if _is_file(animate):
        if results > 1:
            raise ConvscopeError(f"--animate {animate} is one file for {results} results; give the ending, {ending}")
        writable_file(Path(animate))


def film_at(animate: str, stem: Path) -> Path:
    """The file: as given, or beside a result's other files where only the ending was."""
    return Path(animate) if _is_file(animate) else stem.with_name(f"{stem.name}.animation.{_ending(animate)}")


def write_film(file: Path, frames: "Sequence[Image.Image]", *, seconds: float) -> str:
    """The animation in its file, whose name is returned."""
    from convscope.render.animation import animation
    from convscope.writing import write_file

    return str(write_file(file, animation(frames, _ending(str(file)), seconds=seconds)))


def _is_file(animate: str) -> bool:
    return bool(Path(animate).suffix)


def _ending(animate: str) -> str:
    from convscope.render.animation import ENDINGS

    bare = animate.lower().removeprefix(".")
    return Path(animate).suffix.lower().removeprefix(".") or (bare if bare in ENDINGS else "")
