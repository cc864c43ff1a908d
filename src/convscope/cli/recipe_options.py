"""The fields of a recipe as options, from one table; each takes a list with commas too, which makes a sweep sheet.

``synthesis.maximisation.Recipe`` says what they mean and what they may be; here is how they are written. A test holds
the table and the recipe together.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from convscope.cli.options import listed
from convscope.errors import ConvscopeError

F = TypeVar("F", bound=Callable[..., Any])
_PANEL = "Recipe (each may be a list with commas: a sheet that sweeps through it)"
_RANGE = re.compile(r"([\d.]+)(?:-([\d.]+))?", re.ASCII)


@dataclass(frozen=True)
class _Kind:
    """How a value is read, and what it is in words."""

    read: Callable[[str], Any]
    words: str


@dataclass(frozen=True)
class _Option:
    """How one field is written. ``default`` is what the help says where none is given."""

    help: str
    default: str
    kind: _Kind


def _number(text: str) -> int | float:
    number = float(text)
    return int(number) if number.is_integer() and "e" not in text.lower() and "." not in text else number


def _image(text: str) -> str:
    if text not in ("natural", "fourier", "pixels", "maco"):
        raise ValueError
    return text


def _yes(text: str) -> bool:
    return {"yes": True, "no": False}[text.lower()]


def _two(text: str) -> tuple[float, float]:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError
    return float(found[1]), float(found[2] or found[1])


WHOLE, NUMBER, REAL = _Kind(int, "a whole number"), _Kind(_number, "a number"), _Kind(float, "a number")
YES_NO, TWO = _Kind(_yes, "yes or no"), _Kind(_two, "two numbers such as 0.9-1.1")
IMAGE = _Kind(_image, "natural, fourier, pixels or maco")

RECIPE_OPTIONS: Mapping[str, _Option] = {
    "image": _Option(
        "How pictures are drawn: natural (photos' contrast), fourier, pixels, maco (photos' magnitudes, phases climb).",
        "natural",
        IMAGE,
    ),
    "contrast": _Option("Times that of photos, of natural and maco images.", "1.2, of maco 1", NUMBER),
    "decorrelated": _Option("Colours in the basis of photos: yes or no.", "yes, with 3 channels", YES_NO),
    "steps": _Option("Updates of each picture.", "160", WHOLE),
    "rate": _Option("Adam's step.", "0.5, of maco 1, else 0.05", REAL),
    "settle": _Option("Share of the steps, the last ones, in which the rate falls.", "0.6", REAL),
    "pad": _Option("Pixels more on every side, mirrored, before all else.", "0", WHOLE),
    "jitter": _Option("Shifts of up to so many pixels at 224 px, each step.", "14", NUMBER),
    "rotate": _Option("Turns of up to so many degrees, each step.", "10", NUMBER),
    "scale": _Option("Least and largest factor of size, each step.", "0.9-1.1", TWO),
    "noise": _Option("Standard deviation of noise on the picture, each step.", "0.02", NUMBER),
    "tv": _Option("Weight of the total variation.", "0", NUMBER),
    "tv_beta": _Option("Its power: 2 spreads it, 1 lets edges be.", "2", NUMBER),
    "l2": _Option("Weight of the squared distance from grey.", "0", NUMBER),
    "lp": _Option("Weight of the 6-norm about grey.", "0", NUMBER),
    "blur": _Option("Sigma, in pixels at 224 px, of a blur of the picture between steps.", "0", NUMBER),
    "blur_every": _Option("Steps from blur to blur.", "4", WHOLE),
    "alpha": _Option("Pictures with an opacity, transparent where nothing counts: yes or no.", "no", YES_NO),
    "opacity": _Option("What the mean opacity costs, in shares of the score; more leaves less.", "1", NUMBER),
    "let_through": _Option("First steps in which shut rectifiers pass a gradient.", "16", WHOLE),
}
ALSO_SWEPT: Mapping[str, _Option] = {
    "seed": _Option("Of the start and of all that is drawn.", "0", WHOLE),
    "size": _Option("Side of the pictures in pixels.", "the network's", WHOLE),
}


def with_recipe(function: F) -> F:
    """The function, which takes ``**recipe``, with an option in its signature for each field; all texts or None."""
    given = inspect.signature(function)
    kept = [p for p in given.parameters.values() if p.kind is not p.VAR_KEYWORD]
    hints = {name: hint for name, hint in function.__annotations__.items() if name != "recipe"}
    for name, option in {**RECIPE_OPTIONS, **ALSO_SWEPT}.items():
        written = typer.Option(
            f"--{name.replace('_', '-')}", rich_help_panel=_PANEL, show_default=option.default, help=option.help
        )
        hints[name] = Annotated[str | None, written]
        kept.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[name]))
    function.__signature__ = given.replace(parameters=kept)  # pyright: ignore[reportFunctionMemberAccess]
    function.__annotations__ = hints
    return function


@dataclass(frozen=True)
class Chosen:
    """The recipe's fields as given, one value each; ``swept``: the one that has several, and these."""

    fields: Mapping[str, Any]
    swept: tuple[str, tuple[Any, ...]] | None

    @property
    def in_words(self) -> list[str]:
        """``["tv=0.5,1", "steps=100"]``, for a file's name."""
        swept = [] if self.swept is None else [f"{self.swept[0]}={','.join(map(_written, self.swept[1]))}"]
        return swept + [f"{name}={_written(value)}" for name, value in self.fields.items()]


def _written(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, tuple) else str(value)


def chosen(given: Mapping[str, str | None]) -> Chosen:
    """What the texts of the options say.

    Raises:
        ConvscopeError: a value that is none, no value, two options with several values.
    """
    read = {name: _values(name, text) for name, text in given.items() if text is not None}
    several = [name for name, values in read.items() if len(values) > 1]
    if len(several) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in several)
        raise ConvscopeError(f"{names} have several values each: a sheet sweeps through one; give the others one value")
    swept = (several[0], tuple(read.pop(several[0]))) if several else None
    return Chosen({name: values[0] for name, values in read.items()}, swept)


def _values(name: str, text: str) -> list[Any]:
    kind, written = {**RECIPE_OPTIONS, **ALSO_SWEPT}[name].kind, f"--{name.replace('_', '-')}"
    values: list[Any] = []
    for part in listed([text]):
        try:
            values.append(kind.read(part))
        except (ValueError, KeyError):
            raise ConvscopeError(f"{written} {part!r}: give {kind.words}, or several with commas") from None
    if not values:
        raise ConvscopeError(f"{written} is empty: give {kind.words}")
    return values
