"""Keeping: pictures that take minutes are put aside while they are made, so that a run that was broken off goes on.

A keeper is a store of named groups of tensors. Two kinds of keys, by the caller's choice of names:

    "features.10:37"         a finished picture: its values and its scores
    "features.10:37/state"   an unfinished one: ``Step.state()`` of the ascent, taken up again with ``state=``

What is kept under a finished key is not made again. Where and how it is kept, and how often, is the keeper's matter: a
loop offers its state at every step and a keeper takes it when it is time (``is_due``), for a state is the canvas and
Adam's two moments of it, three times the picture. The one on disk is ``cli/kept_work.py``; the library's default keeps
nothing. In a loop over pictures (or over batches of them, with a key each for the batch's state):

    if (done := keeper.kept(key)) is None:
        for step in maximise(..., state=kept_state(keeper, key)):
            keep_state(keeper, key, step.state)             # offered, not taken, at most steps
        keep_finished(keeper, key, {"values": ..., "scores": ...})

Pitfalls: a key says nothing of what the picture was made with. One keeper is for one request: the same network, photo,
seed and options. Tensors come back on the CPU.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor

STATE = "/state"


@runtime_checkable
class Keeper(Protocol):
    """A store of named groups of tensors."""

    def kept(self, key: str) -> dict[str, Tensor] | None:
        """What was kept under ``key``; None where nothing was."""
        ...

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Put ``tensors`` aside; what was there under ``key`` before is replaced."""
        ...

    def forget(self, key: str) -> None:
        """Throw away what was kept under ``key``, if anything was."""
        ...

    def is_due(self) -> bool:
        """True where it is time for an unfinished picture's state to be kept."""
        ...


class _Nothing:
    """Keeps nothing."""

    def kept(self, key: str) -> dict[str, Tensor] | None:  # noqa: ARG002
        return None

    def keep(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        pass

    def forget(self, key: str) -> None:
        pass

    def is_due(self) -> bool:
        return False


NOTHING_KEPT: Keeper = _Nothing()


def keep_state(keeper: Keeper, key: str, state: Callable[[], Mapping[str, Tensor]]) -> None:
    """Between two steps: ``state()`` under ``key + "/state"``, where it is time; only then is it called, and copied.

    On Ctrl-C a keeper lets the step come to its end: it is due at the next one, and the interruption leaves from here.
    """
    if keeper.is_due():
        keeper.keep(key + STATE, state())


def kept_state(keeper: Keeper, key: str) -> dict[str, Tensor] | None:
    """The state to go on from, for ``state=`` of the ascent; None: begin at the beginning."""
    return keeper.kept(key + STATE)


def keep_finished(keeper: Keeper, key: str, tensors: Mapping[str, Tensor]) -> None:
    """The finished picture under ``key``; its state is needed no longer.

    In this order: broken off between the two, the run finds the finished picture.
    """
    keeper.keep(key, tensors)
    keeper.forget(key + STATE)
