"""Which view ``convscope features`` was asked for; what contradicts itself is refused before a network is loaded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli.outputs import name_part
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.answers import Seen
    from convscope.results import Shown

Step = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """The options that choose a view."""

    layers: list[str]
    units: str | None
    every_layer: bool
    unit: int | None
    strongest: bool
    overlay: bool
    deconv: bool
    most: int | None
    partial: bool
    sort: str | None
    own_scale: bool

    @property
    def one_figure(self) -> bool:
        """One map of every layer, together."""
        return self.every_layer and not self.deconv

    def refuse_contradictions(self) -> None:
        """Options that would change nothing, or want two things at once."""
        from convscope.views.units_asked import numbers_in

        units_chosen = self.overlay or self.deconv
        wrong = (
            (self.overlay and self.deconv, "--overlay and --deconv are two views: give one"),
            (self.overlay and self.every_layer, "--overlay takes --layer, with commas for several, not --every-layer"),
            (self.every_layer and bool(self.layers), "--every-layer shows all layers: leave out --layer"),
            (self.every_layer and self.units is not None, "--every-layer takes one --unit, not --units"),
            (self.one_figure and self.own_scale, "--every-layer: each map has its own scale; leave out --own-scale"),
            (self.unit is not None and not self.one_figure, "--unit goes with --every-layer; here it is --units"),
            (self.strongest and not self.one_figure, "--strongest goes with --every-layer; else there is --sort max"),
            (self.strongest and self.unit is not None, "--strongest and --unit choose two maps of a layer: give one"),
            (self.most is not None and not units_chosen, "--most goes with --overlay or --deconv"),
            (self.most is not None and self.units is not None, "--units names the units: leave out --most"),
            (self.partial and not self.deconv, "--partial goes with --deconv"),
            (
                self.sort is not None and (units_chosen or self.one_figure),
                "--sort goes with the grid of a layer's maps; leave out the other view",
            ),
        )
        for is_wrong, why in wrong:
            if is_wrong:
                raise ConvscopeError(why)
        if self.units is not None:
            numbers_in(self.units, "--units")

    @property
    def kind(self) -> str:
        """What the file's name says of the view."""
        if self.one_figure:
            return "strongest" if self.strongest else "mean" if self.unit is None else f"unit-{self.unit}"
        kind = "overlay" if self.overlay else "deconv" if self.deconv else "maps"
        some = "" if self.units is None else f"units-{name_part([self.units])}"
        first = f"most-{self.most}" if self.most else ""
        own = "own-scale" if self.own_scale else ""
        return ".".join(part for part in (kind, some, first, self.sort, own) if part)

    def figures(self, seen: "Seen", batch: int, on_step: Any, step: Step) -> "Iterable[Shown]":
        """All figures of one photo, made before the first is written; of every layer's units one after the other."""
        if self.every_layer and self.deconv:
            return self._of_every_layer(seen, on_step, step)
        return list(self._of_layers(seen, batch, on_step, step))

    def _of_layers(self, seen: "Seen", batch: int, on_step: Any, step: Step) -> "Iterator[Shown]":
        from convscope.views import every_layer_map

        if self.one_figure:
            step("every layer")
            reading = "strongest" if self.strongest else "mean" if self.unit is None else self.unit
            yield every_layer_map.every_layer(seen.net, seen, reading)
            return
        for layer in self.layers or [None]:
            step(layer or "last map")
            yield self._at(layer, seen, batch, on_step)

    def _at(self, layer: str | None, seen: "Seen", batch: int, on_step: Any) -> "Shown":
        from convscope.views import feature_maps, unit_overlays, unit_projections
        from convscope.views.units_asked import numbers_in

        units = None if self.units is None else numbers_in(self.units, "--units")
        if not (self.overlay or self.deconv):
            order: Any = self.sort
            return feature_maps.features(seen.net, seen, layer, units, sort=order, own_scale=self.own_scale)
        how: dict[str, Any] = {"own_scale": self.own_scale, "on_step": on_step}
        if self.most is not None:
            how["most"] = self.most
        if self.overlay:
            return unit_overlays.units_on_photo(seen.net, seen, layer, units, batch=batch, **how)
        return unit_projections.units_projected(seen.net, seen, layer, units, partial=self.partial, **how)

    def _of_every_layer(self, seen: "Seen", on_step: Any, step: Step) -> "Iterator[Shown]":
        """From the first layer on; those without a picture are named, with the reason.

        The last is made first: a network that is refused as a whole is refused there, before any file.
        """
        from convscope.cli.running import say
        from convscope.views.every_layer_map import every_layer

        found = every_layer(seen.net, seen, "strongest").maps
        zero = [one.layer for one in found if not bool(one.values.any())]
        alive = [one.layer for one in found if one.layer not in zero]
        if zero:
            say(f"note: left out, for all their maps are zero: {', '.join(zero)}")
        last = self._at(alive[-1], seen, 1, on_step) if alive else None
        for layer in alive[:-1]:
            step(layer)
            try:
                figure = self._at(layer, seen, 1, on_step)
            except ConvscopeError as why:  # e.g. no rectifier below an early layer, only what --partial leaves plain
                say(f"note: {layer} left out: {why}")
            else:
                yield figure
        if last is not None:
            yield last
