"""A mark for each class: a colour that the colour-blind can tell, and a shape where classes are more than colours.

The colours are Okabe & Ito's (2008), less the yellow, which is faint on white: seven that people with any of the three
kinds of colour-blindness tell apart, and black print as greys. From the eighth class on the shape changes, so that 42
classes have marks of their own; beyond that marks come again, and the classes' names on the chart tell them apart.
"""

from dataclasses import dataclass

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#3b3b3b")
SHAPES = ("o", "^", "s", "D", "v", "P")  # matplotlib's
UNNAMED = "#b4bac0"


@dataclass(frozen=True)
class Mark:
    """Of one class; ``shape`` as matplotlib calls it."""

    colour: str
    shape: str


def marks_of(count: int) -> list[Mark]:
    """``count`` marks; the first are the same whatever the count."""
    return [Mark(COLOURS[i % len(COLOURS)], SHAPES[i // len(COLOURS) % len(SHAPES)]) for i in range(count)]
