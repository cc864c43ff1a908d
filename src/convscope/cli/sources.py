"""Photos named on the command line: a file, a folder of them, or scikit-image's own (``--demo``)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.running import DONE, SKIPPED, say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from PIL import Image

DEMO = {"cat": "chelsea", "coffee": "coffee", "rocket": "rocket"}  # scikit-image's names


@dataclass
class Photos:
    """Photos by name, read one at a time; what cannot be read in a folder is skipped and listed at the end."""

    folder: Path
    readers: dict[str, Callable[[], "Image.Image"]]
    is_folder: bool
    skipped: dict[str, str] = field(default_factory=dict)

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
            if not self.is_folder:
                raise
            self.skipped[name] = str(error)
            return None

    def finish(self) -> int:
        """Say what was skipped; the exit code.

        Raises:
            ConvscopeError: nothing could be read at all.
        """
        if self.skipped and len(self.skipped) == len(self.readers):
            first = next(iter(self.skipped.values()))
            raise ConvscopeError(
                f"none of the {len(self.readers)} pictures in {self.folder} can be read; the first: {first}"
            )
        for why in self.skipped.values():
            say(f"skipped: {why}")
        return SKIPPED if self.skipped else DONE


def photos_at(path: Path | None, *, demo: bool = False) -> Photos:
    """The photos that a command was given.

    Raises:
        ConvscopeError: neither a path nor ``--demo``, both, or a path that is not there.
    """
    from convscope.network.pictures import find_images, read_image

    if demo:
        if path is not None:
            raise ConvscopeError(f"--demo takes scikit-image's photos; leave out {path}")
        return Photos(Path(), {name: _demo_reader(source) for name, source in DEMO.items()}, False)
    if path is None:
        raise ConvscopeError("give a picture or a folder of pictures, or --demo")
    if path.is_dir():
        files = find_images(path)
        return Photos(path, {f.relative_to(path).as_posix(): _file_reader(f) for f in files}, True)
    return Photos(path.parent, {path.name: lambda: read_image(path)}, False)


def _file_reader(file: Path) -> Callable[[], "Image.Image"]:
    from convscope.network.pictures import read_image

    return lambda: read_image(file)


def _demo_reader(source: str) -> Callable[[], "Image.Image"]:
    from skimage import data

    from convscope.network.pictures import read_image

    load: Callable[[], Any] = getattr(data, source)
    return lambda: read_image(load())
