"""Which dreams ``convscope dream`` was asked for; what contradicts itself is refused before a network is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.cli.outputs import name_part, number_part
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.optimised.dreams import Dream


@dataclass(frozen=True)
class Asked:
    """The options that change a dream; None is ``synthesis.dreaming``'s default."""

    layers: tuple[str, ...]
    units: tuple[str, ...]
    classes: tuple[str, ...]
    guide: Path | None
    octaves: int | None
    octave_scale: float | None
    steps: int | None
    rate: float | None
    jitter: int | None
    side: int | None
    seed: int | None

    def refuse_contradictions(self, *, noise: bool, has_photos: bool) -> None:
        """Options that want two things at once, and numbers that no dream can have."""
        wrong = (
            (bool(self.layers) and bool(self.units), "--unit says its layer: leave out --layer"),
            (bool(self.layers) and bool(self.classes), "--class has no layer: leave out --layer"),
            (
                self.guide is not None and bool(self.units or self.classes),
                "--guide leads a layer, all its units at once: leave out --unit and --class",
            ),
            (noise and has_photos, "--noise begins without a picture: leave out IMAGE and --demo"),
            (
                self.octave_scale is not None and not 1 < self.octave_scale < float("inf"),
                f"--octave-scale {self.octave_scale}: each octave is more than 1 times as large as the one before",
            ),
            (self.rate is not None and not 0 < self.rate < float("inf"), f"--rate {self.rate}: a number above 0"),
        )
        for is_wrong, why in wrong:
            if is_wrong:
                raise ConvscopeError(why)

    @property
    def subjects(self) -> list[dict[str, Any]]:
        """What each dream is of, as ``optimised.dreams.dream`` takes it: one a layer, or one of all units at once."""
        together = [*self.units, *self.classes]
        if together:
            return [{"unit": together}]
        return [{"layer": layer} for layer in self.layers or [None]]

    def names(self, photo: str) -> list[str]:
        """What the photo's dreams are called, one a subject."""
        return [photo] if len(self.subjects) == 1 else [f"{photo} {subject['layer']}" for subject in self.subjects]

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given, as ``optimised.dreams.dream`` takes them."""
        how = {"octaves": self.octaves, "octave_scale": self.octave_scale, "steps": self.steps, "rate": self.rate}
        how |= {"jitter": self.jitter, "side": self.side, "seed": self.seed}
        return {name: value for name, value in how.items() if value is not None}

    def kind(self, made: "Dream") -> str:
        """What a file's name says of a dream: two that differ must not write over each other."""
        of = name_part([*self.units, *self.classes] or [made.objective])
        led = "" if self.guide is None else f"guided-by-{name_part([self.guide.stem])}"
        how = "+".join(f"{name.replace('_', '-')}-{number_part(value)}" for name, value in self.options.items())
        return ".".join(part for part in (of, "dream", led, how) if part)
