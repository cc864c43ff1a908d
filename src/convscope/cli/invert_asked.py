"""What ``convscope invert`` was asked for; what contradicts itself is refused before a network is loaded."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli.outputs import name_part, number_part
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.synthesis.inversion import Inverting


@dataclass(frozen=True)
class Asked:
    """The options that change numbers; None is ``synthesis.inversion``'s default."""

    layers: tuple[str, ...]
    every_layer: bool
    tv: tuple[float, ...]
    lp: float | None
    steps: int | None
    rate: float | None
    image: str | None
    seed: int

    def refuse_contradictions(self, models: int) -> None:
        """Options that want two things at once, and numbers that nothing can be made with."""
        wrong = (
            (self.every_layer and bool(self.layers), "--every-layer inverts all layers: leave out --layer"),
            (
                len(self.tv) > 1 and models > 1,
                "rows are of several --tv or of several --model, not of both",
            ),
        )
        for is_wrong, why in wrong:
            if is_wrong:
                raise ConvscopeError(why)
        _ = self.hows

    @property
    def hows(self) -> "list[Inverting]":
        """One setting for each strength."""
        from convscope.synthesis.inversion import Inverting

        given = {"lp": self.lp, "steps": self.steps, "rate": self.rate, "image": self.image}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        return [Inverting(**options, tv=tv) for tv in self.tv] if self.tv else [Inverting(**options)]

    def options_of(self, how: "Inverting") -> dict[str, Any]:
        """As ``optimised.inversions.invert`` takes them."""
        return {**asdict(how), "seed": self.seed}

    def kind(self, of_models: str) -> str:
        """What a file's name says: two runs that ask for different things must not write over each other's files."""
        of = "every-layer" if self.every_layer else name_part(self.layers or ["last-map"])
        tv = [f"tv-{','.join(map(number_part, self.tv))}"] if self.tv else []
        given = (("lp", self.lp), ("steps", self.steps), ("rate", self.rate), ("seed", self.seed or None))
        how = [*tv, *(f"{name}-{number_part(value)}" for name, value in given if value is not None)]
        how += [self.image] if self.image is not None else []
        return ".".join(part for part in ("inversion", of, of_models, "+".join(how)) if part)


def pairs_of(models: list[str], weights: list[str]) -> list[tuple[str | None, str | None]]:
    """Each network with its weights: as many as networks, in their order, or none; ``own`` are a network's own.

    Raises:
        ConvscopeError: another number of weights, the same pair twice.
    """
    named: list[str | None] = [*models] or [None]
    files = [None if one == "own" else one for one in weights] or [None] * len(named)
    if len(files) != len(named):
        raise ConvscopeError(
            f"{len(weights)} --weights for {len(named)} --model: repeat --weights for each, in their order; 'own' are "
            "a network's own"
        )
    pairs = list(zip(named, files, strict=True))
    if len(set(pairs)) < len(pairs):
        raise ConvscopeError("the same network twice: its pictures would be the same")
    return pairs
