"""The making of pictures: which go into one batch, what is kept on the way, what each finished one reached.

Targets that are read at the same layers are made together, at most ``batch`` at once, so that each pass ends at its
last needed layer. Every batch starts from the same seed: a picture is the same in whatever batch it is made.

Kept are, under the run's prefix, each finished picture under its name and the state of an unfinished batch under its
first picture's name and its count.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.pixel_inputs import PixelInput, pixel_input
from convscope.optimised.interrupted import Interrupted, UnfinishedError
from convscope.optimised.one_picture import Picture, from_tensors, picture_of_batch, tensors_of
from convscope.optimised.picture_targets import Asked, Target, targets_found
from convscope.optimised.reached import reached, together
from convscope.optimised.transparency import over_grey, over_squares
from convscope.seeds import seeded
from convscope.synthesis.ascent import AscentError, Step
from convscope.synthesis.keeping import NOTHING_KEPT, STATE, Keeper, keep_finished, keep_state, kept_state
from convscope.synthesis.maximisation import maximise
from convscope.synthesis.objectives import Objective
from convscope.synthesis.recipes import Recipe

DEFAULT_SIDE = 224  # where the network has no input size of its own

R = TypeVar("R")
OnStep = Callable[[int, int], None]
OnMade = Callable[[Picture], None]
OnFrame = Callable[[int, Mapping[str, Tensor]], None]


@dataclass(frozen=True, eq=False)
class Run:
    """All that pictures are made with.

    ``prefix`` keeps apart what several runs put into one keeper; ``own_starts`` and ``objective``, of a whole batch,
    are other than usual for pictures that are compared with each other.
    """

    net: Network
    pixels: PixelInput
    size: tuple[int, int]
    recipe: Recipe
    seed: int
    batch: int
    keeper: Keeper
    on_step: OnStep | None
    on_made: OnMade | None
    on_frame: OnFrame | None
    prefix: str = ""
    own_starts: bool = False
    objective: Callable[[Sequence[Target]], Objective] = together

    @property
    def grey(self) -> Tensor:
        """A network input of the size of the pictures."""
        like = torch.full((1, self.pixels.channels, *self.size), 0.5, dtype=self.pixels.dtype)
        return self.pixels(like.to(self.pixels.device))

    def targets(self, asked: Asked | Sequence[Asked]) -> tuple[Target, ...]:
        """Found and checked."""
        return targets_found(self.net, asked, self.grey)

    def batches(self, targets: Sequence[Target]) -> list[list[Target]]:
        """Groups that are read at the same layers, in the order of their first, cut at ``batch``."""
        groups: dict[Any, list[Target]] = {}
        for one in targets:
            groups.setdefault(one.reads, []).append(one)
        return [group[i : i + self.batch] for group in groups.values() for i in range(0, len(group), self.batch)]

    def steps(self, targets: Sequence[Target]) -> int:
        """How many there will be, of all batches."""
        return len(self.batches(targets)) * self.recipe.steps


def run_of(
    net: Network,
    *,
    recipe: Recipe | None = None,
    steps: int | None = None,
    size: int | tuple[int, int] | None = None,
    seed: int = 0,
    batch: int = 16,
    keeper: Keeper | None = None,
    on_step: OnStep | None = None,
    on_made: OnMade | None = None,
    on_frame: OnFrame | None = None,
    **fields: Any,
) -> Run:
    """Checked; see ``unit_pictures.visualize`` for what they are.

    Raises:
        ConvscopeError: a size, seed, batch or recipe that is none, a network whose input is not made from pictures.
    """
    made_by = (recipe or Recipe()).changed(**(fields if steps is None else fields | {"steps": steps}))
    seeded(seed)
    if not _is_count(batch):
        raise ConvscopeError(f"batch={batch!r}: at least one picture is made at a time")
    pixels = pixel_input(net)
    sides = _sides(size) if size is not None else pixels.size or (DEFAULT_SIDE, DEFAULT_SIDE)
    kept = NOTHING_KEPT if keeper is None else keeper
    return Run(net, pixels, sides, made_by, seed, int(batch), kept, on_step, on_made, on_frame)


def _sides(size: Any) -> tuple[int, int]:
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(map(_is_count, sides)):
        raise ConvscopeError(f"size={size!r}: give pixels a side, or (height, width)")
    return int(sides[0]), int(sides[1])


def _is_count(number: Any) -> bool:
    """A whole number from 1 on, also one of numpy."""
    return hasattr(number, "__index__") and not isinstance(number, bool) and int(number) >= 1


def make(run: Run, targets: Sequence[Target], result: Callable[[Sequence[Picture], Sequence[str]], R]) -> R:
    """All pictures, in the order of ``targets``; ``result`` makes what is returned of (pictures, names missing).

    Raises:
        UnfinishedError: scores or gradients that are not finite.
        Interrupted: Ctrl-C. Both have the result of what is ready.
    """
    made: dict[str, Picture] = {}

    def ready() -> tuple[R | None, tuple[str, ...]]:
        missing = tuple(one.name for one in targets if one.name not in made)
        done = [made[one.name] for one in targets if one.name in made]
        return (result(done, missing) if done else None), missing

    try:
        for picture in pictures_one_by_one(run, targets):
            made[picture.name] = picture
            if run.on_made is not None:
                run.on_made(picture)
    except _NotFiniteError as stopped:
        raise UnfinishedError(str(stopped), *ready(), stopped.last) from stopped.__cause__
    except Interrupted:
        raise
    except KeyboardInterrupt as stopped:
        raise Interrupted(*ready()) from stopped
    return result([made[one.name] for one in targets], ())


def pictures_one_by_one(run: Run, targets: Sequence[Target]) -> Iterator[Picture]:
    """As they are finished, batch after batch."""
    every, done = run.steps(targets), 0
    for batch in run.batches(targets):
        kept = [run.keeper.kept(run.prefix + one.name) for one in batch]
        if all(one is not None for one in kept):
            yield from (from_tensors(t, k) for t, k in zip(batch, kept, strict=True) if k is not None)
        else:
            yield from _batch(run, batch, lambda step, before=done: _tell(run, before + step, every))
        done += run.recipe.steps
        _tell(run, done, every)


def _tell(run: Run, done: int, every: int) -> None:
    if run.on_step is not None:
        run.on_step(done, every)


class _NotFiniteError(Exception):
    """As ``AscentError``, with the targets' names."""

    def __init__(self, message: str, last: Mapping[str, Tensor]) -> None:
        super().__init__(message)
        self.last = last


def _batch(run: Run, targets: list[Target], tell: Callable[[int], None]) -> Generator[Picture]:
    names = [one.name for one in targets]
    try:
        last, fired = _ascended(run, targets, tell)
    except AscentError as error:
        good = {} if error.last is None else dict(zip(names, error.last.image.float().cpu(), strict=True))
        raise _NotFiniteError(f"{', '.join(names)}: {error}", good) from error
    for picture in _finished(run, targets, last, fired):
        keep_finished(run.keeper, run.prefix + picture.name, tensors_of(picture))
        yield picture
    run.keeper.forget(_state_key(run, targets) + STATE)


def _state_key(run: Run, targets: Sequence[Target]) -> str:
    return f"{run.prefix}{targets[0].name} and {len(targets) - 1} more"


def _ascended(run: Run, targets: list[Target], tell: Callable[[int], None]) -> tuple[Step, Tensor]:
    """The last step of a batch, and which of its targets ever gave anything but 0."""
    key = _state_key(run, targets)
    state = kept_state(run.keeper, key)
    fired = torch.zeros(len(targets), dtype=torch.bool) if state is None else state.pop("fired").bool()
    last = None
    for step in _ascent(run, targets, state):
        last = step
        fired = fired | (step.scores.cpu() != 0)
        if run.on_frame is not None:
            shown = over_squares(step.image, step.alpha).float().cpu()
            run.on_frame(step.step, dict(zip((one.name for one in targets), shown, strict=True)))
        if step.step:
            tell(step.step)
        keep_state(run.keeper, key, lambda now=step, ever=fired: {**now.state(), "fired": ever})
    assert last is not None  # there is always the start
    return last, fired


def _ascent(run: Run, targets: Sequence[Target], state: Mapping[str, Tensor] | None) -> Iterator[Step]:
    """The steps of one batch."""
    pixels = run.pixels
    return maximise(
        run.net.module, run.objective(targets), b=len(targets), c=pixels.channels, size=run.size, to_input=pixels,
        recipe=run.recipe, generator=seeded(run.seed), own_starts=run.own_starts, state=state, device=pixels.device,
        dtype=pixels.dtype,
    )  # fmt: skip


def _finished(run: Run, targets: Sequence[Target], last: Step, fired: Tensor) -> list[Picture]:
    """The pictures of a batch's last step, with what they reach."""
    found = reached(run.net.module, targets, over_grey(last.image, last.alpha), run.pixels)
    images = last.image.float().cpu()
    alphas = None if last.alpha is None else last.alpha.float().cpu()
    return [
        picture_of_batch(one, images[i], found, i, bool(fired[i]), None if alphas is None else alphas[i])
        for i, one in enumerate(targets)
    ]
