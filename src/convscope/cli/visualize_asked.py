"""What ``convscope visualize`` was asked for: of what, which sheet, how made; what contradicts itself is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from convscope.cli.options import listed
from convscope.cli.outputs import name_part
from convscope.cli.recipe_options import Chosen
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.network.loading import Network
    from convscope.results import Shown
    from convscope.synthesis.maximisation import Recipe

FIRST_UNITS = 16  # of a layer, where none are named
_NUMBERS = re.compile(r"\d+(-\d+)?", re.ASCII)
EXAMPLES = (
    "nothing to make pictures of; ask for units (features.18:3, or --layer features.18 --units 0-15), for classes "
    "(--class lion) or for a row of units of several layers (--layers features.0,features.18); `convscope layers` "
    "lists the layers"
)


@dataclass(frozen=True)
class Asked:
    """The options that choose what is made. ``fields`` and ``swept`` are the recipe's, ``seed`` and ``size``."""

    names: list[str]
    layer: list[str]
    units: str | None
    classes: list[str]
    both: list[tuple[str, str]]
    layers: list[str]
    per_layer: int | None
    variants: int | None
    diversity: float | None
    plain: bool
    chosen: Chosen
    animate: str | None

    @property
    def sheet(self) -> str:
        """``pictures``, ``sweep``, ``both``, ``layers`` or ``variants``."""
        if self.both:
            return "both"
        if self.layers:
            return "layers"
        return "variants" if self.variants is not None else "sweep" if self.chosen.swept else "pictures"

    def refuse_contradictions(self) -> None:
        """Options that would change nothing, or want two sheets at once; and no target at all."""
        of_something = bool(self.names or self.layer or self.classes)
        swept = "" if self.chosen.swept is None else f"--{self.chosen.swept[0].replace('_', '-')}"
        wrong = (
            (self.units is not None and not self.layer, "--units are of a --layer: name one, or give LAYER:UNITS"),
            (bool(self.both) and of_something, "--both names what it shows: leave out the other units and classes"),
            (bool(self.layers) and of_something, "--layers makes one sheet: leave out the other units and classes"),
            (bool(self.both) and bool(self.layers), "--both and --layers are two sheets: give one of them"),
            (self.variants is not None and bool(self.both or self.layers), "--variants goes with one unit or class"),
            (self.per_layer is not None and not self.layers, "--per-layer goes with --layers"),
            (self.diversity is not None and self.variants is None, "--diversity goes with --variants"),
            (
                bool(swept) and self.sheet != "sweep",
                f"{swept} has several values, which makes a sheet of its own: leave out --{self.sheet}",
            ),
            (bool(swept) and self.animate is not None, f"--animate shows one recipe: give {swept} one value"),
            (not of_something and not self.both and not self.layers, EXAMPLES),
        )
        for is_wrong, why in wrong:
            if is_wrong:
                raise ConvscopeError(why)

    @property
    def recipe(self) -> "Recipe":
        """What is not swept, on the standard recipe or on none at all.

        Raises:
            ConvscopeError: a value that a recipe cannot have; of those that are swept too.
        """
        from convscope.synthesis.maximisation import PLAIN, Recipe

        recipe = (PLAIN if self.plain else Recipe()).changed(**self._of_the_recipe(self.chosen.fields))
        if self.chosen.swept is not None:
            name, values = self.chosen.swept
            for value in values:
                recipe.changed(**self._of_the_recipe({name: value}))
        return recipe

    @staticmethod
    def _of_the_recipe(fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in ("seed", "size")}

    def targets(self, net: "Network") -> list[Any]:
        """What single pictures are made of.

        Raises:
            ConvscopeError: numbers of units that are none, a class that there is not.
        """
        found: list[Any] = list(self.names)
        for layer in self.layer:
            found += [f"{layer}:{self.units}"] if self.units is not None else first_units(net, layer)
        return found + classes_named(self.classes, net.classes)

    @property
    def size(self) -> int | None:
        """Of the pictures, where all have one that was given."""
        return self.chosen.fields.get("size")

    def count(self, net: "Network") -> int:
        """About how many pictures there will be."""
        from convscope.optimised.made_pictures import run_of

        if self.both:
            return 3 * len(self.both)
        if self.layers:
            return len(self.layers) * (self.per_layer or 8)
        return self.variants or len(run_of(net, recipe=self.recipe).targets(self.targets(net)))

    def layers_of_units(self, net: "Network") -> list[str]:
        """The layers whose units pictures are made of."""
        from convscope.optimised.made_pictures import run_of
        from convscope.views.unit_names import layer_of

        if self.layers:
            return list(dict.fromkeys(layer_of(name) if ":" in name else name for name in self.layers))
        if self.both:
            return []
        found = run_of(net, recipe=self.recipe).targets(self.targets(net))
        return list(dict.fromkeys(one.unit.layer for one in found if one.unit is not None))

    def made(self, net: "Network", options: Mapping[str, Any]) -> "Shown":
        """The sheet; ``options`` are those that all kinds of it take."""
        from convscope.optimised import picture_sheets, unit_pictures

        given: dict[str, Any] = {**options, "recipe": self.recipe}
        if "seed" in self.chosen.fields:
            given["seed"] = self.chosen.fields["seed"]
        if self.both:
            return picture_sheets.both(net, self.both, **given)
        if self.layers:
            return picture_sheets.hierarchy(net, self.layers, self.per_layer or 8, **given)
        targets = self.targets(net)
        if self.variants is not None:
            unlike = {} if self.diversity is None else {"diversity": self.diversity}
            if len(targets) != 1:
                raise ConvscopeError(f"--variants shows one unit, layer or class, and {len(targets)} were named")
            return picture_sheets.variants(net, targets[0], self.variants, **unlike, **given)
        if self.chosen.swept is not None:
            return picture_sheets.sweep(net, targets, *self.chosen.swept, **given)
        return unit_pictures.visualize(net, targets, **given)

    @property
    def in_words(self) -> str:
        """For the files' names."""
        what = [*self.names, *(f"{layer}:{self.units or 'first'}" for layer in self.layer), *listed(self.classes)]
        what += [f"{a}&{b}" for a, b in self.both] + self.layers
        sheet = {"pictures": [], "sweep": []}.get(self.sheet, [self.sheet])
        counts = [str(n) for n in (self.per_layer, self.variants, self.diversity) if n is not None]
        how = ["plain"] * self.plain + self.chosen.in_words
        parts = ("visualize", *sheet, *counts, name_part(what), name_part(how))
        return ".".join(part for part in parts if part)


def first_units(net: "Network", layer: str) -> list[str]:
    """The first units of a layer, by name; says how many it has where it has more."""
    from convscope.cli.running import say
    from convscope.optimised.made_pictures import run_of

    every = [one.name for one in run_of(net).targets([f"{layer}:all"])]
    if len(every) > FIRST_UNITS:
        say(f"note: the first {FIRST_UNITS} of the {len(every)} units of {layer}; --units 0-{len(every) - 1} has all")
    return every[:FIRST_UNITS]


def classes_named(values: list[str], classes: tuple[str, ...]) -> list[int]:
    """Numbers of classes: each value is a name (which may hold commas), or several, numbers and ranges of them too.

    Raises:
        ConvscopeError: a name that no class or several have.
    """
    from convscope.network.targets import class_index
    from convscope.views.units_asked import numbers_in

    found: list[int] = []
    for value in values:
        try:
            found.append(class_index(value, classes))
        except ConvscopeError:
            parts = listed([value])
            if len(parts) == 1 and not _NUMBERS.fullmatch(value):
                raise
            for part in parts:
                is_range = "-" in part and _NUMBERS.fullmatch(part) is not None
                found += numbers_in(part, "--class") if is_range else [class_index(part, classes)]
    return list(dict.fromkeys(found))


def layers_named(values: list[str] | None) -> list[str]:
    """``["a,b:3,7", "c"]`` -> ``["a", "b:3,7", "c"]``: numbers after a colon are units of that layer."""
    found: list[str] = []
    for part in (part for value in values or [] for part in value.split(",") if part.strip()):
        if found and ":" in found[-1] and _NUMBERS.fullmatch(part.strip()):
            found[-1] += f",{part.strip()}"
        else:
            found.append(part.strip())
    return list(dict.fromkeys(found))
