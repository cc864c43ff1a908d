"""Photos read a second time, for their crops: refused where one is no longer what the survey saw.

The winners' photos are read again when the pass is over, which may be days later. Of another picture under the same
name the crop would look right and be wrong; so would that of a Dataset that changes its pictures at random from one
reading to the next. The digest that the pass recorded tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from convscope.dataset.image_sources import ImageSource, SourceImage
from convscope.errors import ConvscopeError


@dataclass(frozen=True, eq=False)
class SamePhotos:
    """The images of ``source``, of which ``digests`` holds what the pass saw, by their ids."""

    source: ImageSource
    digests: Mapping[str, bytes]

    def read(self, name: str) -> SourceImage:
        """The image. Raises ConvscopeError where it has gone, or is another than it was."""
        found = self.source.read(name)
        if found.digest != self.digests[name]:
            raise ConvscopeError(
                f"{name} of {self.source.name} is not the picture that it was in the pass: it was changed since, or is "
                "made anew at random each time. Its crops would be wrong: put it back and go on with --resume, or "
                "leave the crops out (--no-pictures)"
            )
        return found
