"""What is known of a method beside its function: the record that command line, documentation and pages read."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Output = Literal["pixels", "pixel map", "layer map"]
Look = Literal["gradient", "grain", "heat"]
Floor = Literal["zero", "lowest"]
Measured = tuple[Tensor, Mapping[str, Tensor]]


@dataclass(frozen=True)
class Method:
    """One method; call it as ``method(model, x, target=..., ...)``.

    ``output`` is ``"pixels"`` (b, c, H, W), ``"pixel map"`` (b, H, W) or ``"layer map"`` (b, h, w);
    ``needs_layer`` says that it works at a layer (``layer=None`` takes a default one); ``signed`` that negative
    values mean something; ``claim`` is what the picture says, ``limits`` when not to believe it. ``look`` is how it is
    drawn (colours round grey, a grainy map on its own, heat on the photo), ``zero`` why a map may be zero everywhere.
    ``classless`` methods give one map whatever the target.
    ``slow`` methods take hundreds of passes: a sheet of all methods has them only when asked. ``measuring`` is a
    function of the same arguments that gives ``(values, {what it measured beside them: (b,)})``. ``floor`` is where the
    colours of a map without negative values begin: at 0, or at its lowest value where that says nothing by itself (the
    colour bar prints it).
    """

    name: str
    function: Callable[..., Tensor | Any]
    output: Output
    needs_layer: bool
    signed: bool
    claim: str
    limits: str
    source: str
    look: Look
    zero: str
    classless: bool = False
    slow: bool = False
    floor: Floor = "zero"
    measuring: Callable[..., Measured] | None = None

    def __call__(self, model: nn.Module, x: Any, **options: Any) -> Tensor:
        """Raw values; see the function's own documentation for the options."""
        return self.function(model, x, **options)

    def measured(self, model: nn.Module, x: Any, **options: Any) -> Measured:
        """Raw values, and what the method can say of how well it worked: name -> ``(b,)``; empty for most."""
        if self.measuring is not None:
            return self.measuring(model, x, **options)
        return self(model, x, **options), {}

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Option -> default value, in the order of the signature."""
        options = inspect.signature(self.function).parameters.values()
        return {p.name: p.default for p in options if p.kind is p.KEYWORD_ONLY}
