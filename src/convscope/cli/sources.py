"""Photos named on the command line: a file, a folder, scikit-image's own (``--demo``), or the digits in the box."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from convscope.cli.running import DONE, SKIPPED, say, say_skipped
from convscope.errors import ConvscopeError
from convscope.tours.photos import PHOTOS, photo
from convscope.writing import UnwritableError

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")


@dataclass
class Photos:
    """Photos by name, read one at a time; of a folder, what cannot be used is skipped and listed at the end."""

    folder: Path
    readers: dict[str, Callable[[], "Image.Image"]]
    is_folder: bool
    skipped: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> Sequence[str]:
        """Paths relative to the folder, with ``/``."""
        return list(self.readers)

    def read(self, name: str) -> "Image.Image | None":
        """The photo, or None where one of a folder cannot be read.

        Raises:
            ConvscopeError: a single photo that cannot be read.
        """
        try:
            return self.readers[name]()
        except ConvscopeError as error:
            self.skip(name, error)
            return None

    def skip(self, name: str, error: ConvscopeError) -> None:
        """Leave out a photo of a folder, to be listed at the end.

        Raises:
            ConvscopeError: the given error, where there is no folder to go on with.
        """
        if not self.is_folder:
            raise error
        self.skipped[name] = str(error)

    def left(self, done: Collection[str]) -> list[str]:
        """The names that are neither done nor skipped."""
        return [name for name in self.names if name not in done and name not in self.skipped]

    def each(self, make: "Callable[[str, Image.Image], T]") -> "Iterator[tuple[str, T]]":
        """(name, what ``make(name, photo)`` returns), photo by photo; of a folder, those that are refused are skipped.

        Raises:
            ConvscopeError: a single photo that is refused, or the same refusal twice before anything was made: then
                it is not the photos.
            UnwritableError: a result that cannot be written, of a folder too.
        """
        is_first = True
        for name in self.names:
            photo = self.read(name)
            if photo is None:
                continue
            try:
                made = make(name, photo)
            except UnwritableError:  # not the photo's fault: the next could not be written either
                raise
            except ConvscopeError as error:
                if is_first and str(error) in self.skipped.values():
                    raise
                self.skip(name, error)
            else:
                is_first = False
                yield name, made

    def refuse_if_none(self) -> None:
        """Refuse where every photo was skipped."""
        if len(self.skipped) == len(self.readers):
            reasons = list(dict.fromkeys(self.skipped.values()))
            first = "" if len(reasons) == 1 else "the first: "
            raise ConvscopeError(
                f"none of the {len(self.readers)} pictures in {self.folder} can be used; {first}{reasons[0]}"
            )

    def finish(self) -> int:
        """Say what was skipped; the exit code."""
        for name, why in self.skipped.items():
            say_skipped(name, why)
        return SKIPPED if self.skipped else DONE


def photos_at(path: Path | None, *, demo: bool = False, besides: Path | None = None) -> Photos:
    """The photos that a command was given; in a folder, not those below ``besides``, where the results go.

    Raises:
        ConvscopeError: neither a path nor ``--demo``, both, a path that is not there, or a picture that is none.
    """
    from convscope.network.digit_pictures import is_in_the_box
    from convscope.network.picture_folders import find_images, made_note
    from convscope.network.pictures import read_image

    if demo:
        if path is not None:
            raise ConvscopeError(f"--demo takes scikit-image's photos; leave out {path}")
        return Photos(Path(), {name: partial(photo, name) for name in PHOTOS}, False)
    if path is None:
        raise ConvscopeError("give a picture or a folder of pictures, or --demo")
    if is_in_the_box(path):
        return _in_the_box(path.as_posix())
    if path.is_dir():
        made: list[str] = []
        files = find_images(path, besides=besides, on_made=made.append)
        if made:
            say(f"note: {made_note(made)}")
        return Photos(path, {f.relative_to(path).as_posix(): _file_reader(f) for f in files}, True)
    picture = read_image(path)  # now: a misspelt name is refused before a network is loaded
    return Photos(path.parent, {path.name: lambda: picture}, False)


def _in_the_box(spec: str) -> Photos:
    """One digit, ``bundled:digits:7``, or as from class folders all of ``bundled:digits/held-out``."""
    from convscope.dataset.image_sources import source_of
    from convscope.network.digit_pictures import digit_picture, is_digit_picture
    from convscope.network.pictures import read_image

    if is_digit_picture(spec):
        name, picture = digit_picture(spec)
        return Photos(Path(), {f"digit-{name.replace('/', '-')}": lambda: read_image(picture)}, False)
    digits = source_of(spec)
    return Photos(Path(spec), {name: lambda name=name: digits.read(name).image for name in digits.names()}, True)


def _file_reader(file: Path) -> Callable[[], "Image.Image"]:
    from convscope.network.pictures import read_image

    return lambda: read_image(file)
