"""The digits in the box as data: ``bundled:digits``, ``bundled:digits/train``, ``bundled:digits/held-out``.

See ``network.digit_pictures`` for what they are. They look like class folders, ``7/0041.png``, so that whoever reads
labels off folders has them: as classes of a network that has ``0`` to ``9``, as groups for any other. The pictures are
RGB as every source's; all three channels are the same, and a network of one channel gets exactly that one.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from convscope.dataset.image_sources import SourceImage, counted, short_digest
from convscope.network.digit_pictures import DIGITS, digit_ids, digit_image
from convscope.network.pictures import read_image


@dataclass(frozen=True)
class Digits:
    """All digits, or one part: ``train`` or ``held-out``."""

    part: str | None = None

    @property
    def name(self) -> str:
        """``digits``, ``digits-held-out``: files are named after it."""
        return "digits" if self.part is None else f"digits-{self.part}"

    @property
    def place(self) -> str | None:
        """``bundled:digits``, ``bundled:digits/held-out``."""
        return DIGITS if self.part is None else f"{DIGITS}/{self.part}"

    def line(self) -> str:
        """``1,797 photos in digits``."""
        return counted(len(digit_ids(self.part)), self.name)

    def names(self) -> Iterator[str]:
        """``0/0000.png`` and so on, by code points."""
        return iter(digit_ids(self.part))

    def read(self, name: str) -> SourceImage:
        """The picture; its digest is that of its pixels."""
        image = read_image(digit_image(name))
        return SourceImage(image, short_digest(repr(image.size).encode() + image.tobytes()))

    def digest(self, name: str) -> bytes:
        """Of the pixels."""
        return self.read(name).digest

    def facts(self, name: str) -> tuple[int, int]:  # noqa: ARG002
        """(-1, -1): there is no file."""
        return -1, -1

    def label(self, name: str) -> str | None:  # noqa: ARG002
        """None: the folder says it."""
        return None
