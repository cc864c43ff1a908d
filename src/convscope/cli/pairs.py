"""Options of two values that may be repeated, ``--both A B --both C D``, which typer does not know.

On their way to the parser the two become one, ``A`` and ``B`` with a separator between them that no name has.
"""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from convscope.errors import ConvscopeError

PAIR_OPTIONS = ("--both",)
_BETWEEN = "\x1f"


class WithPairs(TyperCommand):
    """A command with such options; each is declared as a ``list[str]``, and read by ``pairs_of``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments with pairs joined."""
        return super().parse_args(ctx, joined(args))


def joined(args: Sequence[str]) -> list[str]:
    """``--both A B x`` with A and B as one; what follows ``--`` is left alone."""
    rest, done = list(args), list[str]()
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            return [*done, arg, *rest]
        done.append(arg)
        if arg in PAIR_OPTIONS and len(rest) >= 2:
            done.append(_BETWEEN.join((rest.pop(0), rest.pop(0))))
    return done


def pairs_of(values: Sequence[str] | None, option: str) -> list[tuple[str, str]]:
    """The pairs, each once.

    Raises:
        ConvscopeError: one that is given with ``=``, or as the last argument: it has one half.
    """
    found: dict[tuple[str, str], None] = {}
    for value in values or []:
        a, between, b = value.partition(_BETWEEN)
        if not between or b.startswith("--"):
            raise ConvscopeError(f"{option} {a!r}: give two with a blank between them, such as {option} tabby lion")
        found[a, b] = None
    return list(found)
