"""What can be said of a training in a sentence each, from its numbers alone.

    learning    accuracy after the last epoch against that of always answering the largest class, p:  it learned
                something where it is above p + 2 sqrt(p (1 - p) / n), two standard deviations of n guesses
    by heart    the held-out loss after the last epoch against its lowest:  above it by more than 5 % and by more than
                twice the median step from epoch to epoch of the later half, its usual ups and downs, while the loss on
                the training images fell since then, is overfitting

The thresholds are ours; each sentence has the numbers, for whoever draws the line elsewhere. The rest is said by the
results themselves: what is mixed up most, which layers are dead or stand still, how the classes part.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.trainings.confusion_over_epochs import ConfusionOverEpochs
from convscope.trainings.embedding_moving import NEAREST, EmbeddingMoving
from convscope.trainings.layer_health import LayerHealth
from convscope.trainings.loss_curves import LossCurves
from convscope.trainings.training_run import Scores
from convscope.wording import percent

ABOVE = 0.05  # of the lowest held-out loss: what counts as risen


@dataclass(frozen=True)
class Finding:
    """A question that one has of a training, and its answer."""

    question: str
    answer: str


def findings(shown: Sequence[Shown]) -> list[Finding]:
    """The answers that the results have."""
    found: list[Finding] = []
    for one in shown:
        if isinstance(one, LossCurves):
            found += [Finding("Is it learning?", learning(one)), Finding("Does it learn by heart?", by_heart(one))]
        elif isinstance(one, ConfusionOverEpochs):
            found.append(Finding("What is mixed up?", mixed_up(one)))
        elif isinstance(one, EmbeddingMoving) and math.isfinite(float(one.alike[-1, 0])):
            found.append(Finding("Do the classes part?", parting(one)))
        elif isinstance(one, LayerHealth):
            found.append(Finding("Do layers die or stand still?", one.title + "."))
    return found


def learning(curves: LossCurves) -> str:
    """Against always answering the largest class."""
    share, last = curves.history[-1].accuracies[curves.judged_by], curves.history[-1].epoch
    if not math.isfinite(share):
        return "Nobody can say: no share of right answers was measured."
    said = f"{percent(share)} of the {curves.judged_by} images are answered rightly after epoch {last}"
    if len(curves.history) > 1:
        first = curves.history[0]
        said += f", {percent(first.accuracies[curves.judged_by])} after epoch {first.epoch}"
    if curves.chance is None:
        return f"{said}."
    p, images = curves.chance, curves.images[curves.judged_by]
    level = f"{percent(p)}, the share of the largest class"
    if share > p + 2 * math.sqrt(p * (1 - p) / max(1, images)):
        return f"Yes: {said}. Guessing gives {level}."
    return f"Not yet: {said}. That is no more than guessing gives, {level}."


def by_heart(curves: LossCurves) -> str:
    """The held-out loss since its lowest, beside that on the training images."""
    judged, best = curves.judged_by, curves.best_epoch
    broken = [s.epoch for s in curves.history if not all(map(math.isfinite, s.losses.values()))]
    if broken or best is None:
        return f"The loss is NaN or infinite after epoch {broken[0]}: it runs away; try a smaller learning rate."
    if len(curves.splits) < 2:
        return "Nobody can say: nothing was held out."
    if len(curves.history) == 1:
        return "Nobody can say yet: one epoch was looked at."
    lowest = next(scores for scores in curves.history if scores.epoch == best)
    last, train = curves.history[-1], curves.splits[0]
    if best == last.epoch:
        return f"No: the loss on {judged} is lowest after the last epoch; more epochs may help."
    return _since_lowest(lowest, last, (judged, train), usual_step(curves))


def usual_step(curves: LossCurves) -> float:
    """The median step of the held-out loss from epoch to epoch, up or down, in the later half."""
    losses = [scores.losses[curves.judged_by] for scores in curves.history]
    late = losses[(len(losses) - 1) // 2 :]
    return statistics.median(abs(b - a) for a, b in itertools.pairwise(late))


def _since_lowest(lowest: Scores, last: Scores, splits: tuple[str, str], step: float) -> str:
    judged, train = splits
    low, now = lowest.losses[judged], last.losses[judged]
    moved = f"from {number_text(low)} after epoch {lowest.epoch} to {number_text(now)}"
    if now - low <= max(ABOVE * low, 2 * step):
        return f"Hardly: since its lowest the loss on {judged} has gone {moved}, within its usual ups and downs."
    before, after = lowest.losses[train], last.losses[train]
    also = f"from {number_text(before)} to {number_text(after)}"
    if after < before:
        return f"Yes, since epoch {lowest.epoch}: the loss on {judged} rose {moved}, while that on {train} fell {also}."
    return f"It does not settle: the loss on {judged} rose {moved}, and that on {train} {also}."


def mixed_up(confusions: ConfusionOverEpochs) -> str:
    """The three most frequent mistakes of the last epoch, and since when."""
    said: list[str] = []
    for i, j in confusions.mistakes[:3]:
        since = confusions.since((i, j))
        if since is not None:
            images = f"{confusions.counts[-1][i, j]} of {confusions.counts[-1][i].sum()}"
            said.append(f"{confusions.classes[i]} called {confusions.classes[j]} ({images}, since epoch {since})")
    return f"Most often {', '.join(said)}." if said else "Nothing, after the last epoch."


def parting(embedding: EmbeddingMoving) -> str:
    """How many of an image's nearest are of its class, at first and at last."""
    first, last = (float(share) for share in embedding.alike[[0, -1], 0])
    said = f"Of an image's {NEAREST} nearest in {embedding.layer}, {last:.0%} are of its class"
    said += f" after epoch {embedding.epochs[-1]}"
    return said + (f", {first:.0%} after epoch {embedding.epochs[0]}." if len(embedding.epochs) > 1 else ".")
