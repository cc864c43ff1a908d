"""A tour of three made-up chapters, which cost nothing, and one of which can be told to fail."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from convscope.tours.chapter import Sheet, Stage
from convscope.tours.workshop import Workshop


class Plain:
    """A result that saves itself as a white picture."""

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), "white").save(path)
        return path


@dataclass
class MadeUp:
    """Three stages, and which of them were made; one of them can be told to fail."""

    made: list[str] = field(default_factory=list)
    failing: str = ""
    error: BaseException = field(default_factory=KeyboardInterrupt)

    @property
    def stages(self) -> tuple[Stage, ...]:
        return tuple(self._stage(name) for name in ("one", "two", "three"))

    def _stage(self, name: str) -> Stage:
        def make(_shop: Workshop) -> Iterator[Sheet]:
            self.made.append(name)
            yield Sheet("first.png", Plain(), alt=f"alt of {name}", text=f"see {name}", commands=("layers",))
            if name == self.failing:
                raise self.error
            yield Sheet("second.png", Plain(), alt="more", text="see more", commands=("layers",))

        return Stage(name, f"Title {name}", f"Text {name}", f"Limits {name}", 1, make)
