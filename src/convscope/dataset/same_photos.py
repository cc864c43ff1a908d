"""Photos read a second time: refused where one is no longer what the survey saw.

The winners' photos are read again when the pass is over, and those of an atlas perhaps months later. Of another picture
under the same name a crop would look right and be wrong; so would that of a Dataset that changes its pictures at random
from one reading to the next. The digest that the pass recorded tells.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convscope.dataset.image_sources import ImageSource, SourceImage
from convscope.errors import ConvscopeError


@dataclass(frozen=True, eq=False)
class SamePhotos:
    """An ImageSource: the images of ``source``, each of which is what it was.

    ``digest_of`` tells what the pass saw, by their ids; ``otherwise`` what is said of a picture that is another now.
    """

    source: ImageSource
    digest_of: Callable[[str], bytes]
    otherwise: str

    @property
    def name(self) -> str:
        """Of the folder, file or data set."""
        return self.source.name

    @property
    def place(self) -> str | None:
        """Where they are."""
        return self.source.place

    def line(self) -> str:
        """How many images of what."""
        return self.source.line()

    def names(self) -> Iterator[str]:
        """The ids of all that are there now."""
        return self.source.names()

    def read(self, name: str) -> SourceImage:
        """The image. Raises ConvscopeError where it has gone, or is another than it was."""
        found = self.source.read(name)
        if found.digest != self.digest_of(name):
            raise ConvscopeError(f"{name} of {self.source.name} {self.otherwise}")
        return found

    def digest(self, name: str) -> bytes:
        """Of what is there now."""
        return self.source.digest(name)

    def facts(self, name: str) -> tuple[int, int]:
        """Size and time of change."""
        return self.source.facts(name)

    def label(self, name: str) -> str | None:
        """The source's own."""
        return self.source.label(name)
