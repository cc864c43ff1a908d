"""Which sheets ``convscope unit`` was asked for; what contradicts itself is refused before anything is opened."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from convscope.cli.outputs import name_part
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.network.loading import Network
    from convscope.network.targets import Unit
    from convscope.results import Shown
    from convscope.store.atlas import Atlas

Draw = Callable[["Network | None"], "Shown"]


@dataclass(frozen=True)
class Part:
    """One sheet: parts of its file's name, the units on it, how it is drawn (with the network where there is one)."""

    name: tuple[str, ...]
    units: "tuple[Unit, ...]"
    draw: Draw
    shows_filters: bool = False


@dataclass(frozen=True)
class Asked:
    """The options that choose sheets and pictures."""

    names: tuple[str, ...]
    units: str | None
    together: bool
    top: int | None
    deconv: bool
    synthetic: bool
    steps: int | None
    partial: bool

    def refuse_contradictions(self) -> None:
        """Options that would change nothing, or want two things at once."""
        from convscope.views.units_asked import numbers_in

        named = any(":" in name for name in self.names)
        wrong = (
            (self.partial and not self.deconv, "--partial goes with --deconv"),
            (self.steps is not None and not self.synthetic, "--steps goes with --synthetic"),
            (self.units is not None and (named or not self.names), "--units goes with a layer; units are LAYER:3,7"),
            (self.units is not None and self.together, "--together takes units as LAYER:3,7, not --units"),
            (
                self.synthetic and (not named or self.together),
                "--synthetic makes one picture a unit, for its dossier: name units, such as LAYER:3,7",
            ),
        )
        for is_wrong, why in wrong:
            if is_wrong:
                raise ConvscopeError(why)
        if self.units is not None:
            numbers_in(self.units, "--units")

    def parts(self, atlas: "Atlas") -> list[Part]:
        """The sheets, in the order of the names.

        Raises:
            ConvscopeError: a layer or unit that the atlas has not.
        """
        if self.together or not self.names:
            return [self._together(atlas)]
        return [part for name in self.names for part in self._of(atlas, name)]

    def _of(self, atlas: "Atlas", name: str) -> list[Part]:
        return self._dossiers(atlas, name) if ":" in name else [self._contact(atlas, name)]

    def _dossiers(self, atlas: "Atlas", name: str) -> list[Part]:
        from convscope.atlases.dossiers import dossier
        from convscope.atlases.units_named import units_of

        def draw(unit: "Unit", _net: "Network | None") -> "Shown":
            return dossier(atlas, unit, top=self.top)

        units = units_of(atlas, [name])
        return [Part((name_part([str(one)]), "unit", *self._kind), (one,), partial(draw, one)) for one in units]

    def _contact(self, atlas: "Atlas", layer: str) -> Part:
        from convscope.atlases.contact_sheets import contact_sheet, units_shown
        from convscope.views.units_asked import numbers_in

        numbers = None if self.units is None else numbers_in(self.units, "--units")
        shown = units_shown(atlas, layer, numbers)
        some = () if self.units is None else (f"units-{name_part([self.units])}",)

        def draw(net: "Network | None") -> "Shown":
            return contact_sheet(atlas, layer, numbers, net=net, top=self.top)

        return Part((name_part([layer]), "contact", *some, *self._kind), shown, draw, shows_filters=True)

    def _together(self, atlas: "Atlas") -> Part:
        from convscope.atlases.patch_hierarchies import patch_hierarchy, units_at_even_steps
        from convscope.atlases.units_named import units_of

        plain = [name for name in self.names if ":" not in name]
        units = units_of(atlas, [name for name in self.names if ":" in name])
        if plain or not self.names:
            units += units_at_even_steps(atlas, plain or None)
        chosen = not any(":" in name for name in self.names)

        def draw(_net: "Network | None") -> "Shown":
            return patch_hierarchy(atlas, units, top=self.top, chosen=chosen)

        some = (name_part(self.names),) if self.names else ()
        return Part((*some, "layers", *self._kind), tuple(units), draw)

    @property
    def _kind(self) -> tuple[str, ...]:
        """What tells the file from that of another run."""
        return (f"top-{self.top}",) if self.top else ()
