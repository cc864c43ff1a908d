"""What the chapters of a tour work with: the network in the box, photos, the digits' network.

Each is made when it is first asked for, so that a tour that goes on loads only what its last chapters need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from convscope.tours.photos import PHOTOS, photo
from convscope.writing import write_file

if TYPE_CHECKING:
    from PIL import Image

    from convscope.network.loading import Network

Tell = Callable[[str, int, int], None]
# in the commands of the page, which are given in the tour's folder
CAT, COFFEE, PHOTOS_FOLDER, DIGIT = "photos/cat.png", "photos/coffee.png", "photos", "bundled:digits:7"
RUN_FOLDER, ATLAS = "training/digits.run", "units/digits.atlas"
RUN = f"--model {RUN_FOLDER}"


@dataclass(frozen=True)
class Pace:
    """How much work a tour does: the defaults are the demo's; a test takes less."""

    classes: tuple[str, ...] = (
        "bullfrog", "tarantula", "ladybug", "snail", "American alligator", "king penguin", "lion", "basketball",
    )  # fmt: skip
    class_steps: int = 128
    dream_side: int = 384
    dream_steps: int = 10
    inverted: tuple[str, ...] = ("features.1", "features.5", "features.10", "features.15")
    inversion_steps: int = 200
    methods: tuple[str, ...] | None = None
    digits: str = "bundled:digits"
    epochs: int | None = None
    digit_steps: int = 128
    embedding: str = "t-sne"


@dataclass(frozen=True, eq=False)
class Workshop:
    """``folder`` is the tour's. ``tell`` takes (what, done, all)."""

    folder: Path
    pace: Pace
    tell: Tell

    @cached_property
    def net(self) -> "Network":
        """The network in the box."""
        from convscope.network.loading import load

        return load()

    @cached_property
    def photos(self) -> "Mapping[str, Image.Image]":
        """The cat, the coffee and the rocket; they are written into the folder, where the page's commands find them."""
        read = {f"{name}.png": photo(name) for name in PHOTOS}
        for name, image in read.items():
            kept = BytesIO()
            image.save(kept, "PNG")
            write_file(self.folder / PHOTOS_FOLDER / name, kept.getvalue())
        return read

    @property
    def run_folder(self) -> Path:
        """Where the digits' network is trained."""
        return self.folder / RUN_FOLDER

    @cached_property
    def digits(self) -> "Network":
        """The network that has learnt to read."""
        from convscope.network.loading import load

        return load(str(self.run_folder))

    def step(self, what: str) -> Callable[[int, int], None]:
        """An ``on_step`` callback that tells of ``what``."""
        return lambda done, every: self.tell(what, done, every)
