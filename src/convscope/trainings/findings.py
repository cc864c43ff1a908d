"""What can be said of a training in a sentence each, from its numbers alone.

    learning    accuracy after the last epoch against that of always answering the largest class, p:  it learned
                something where it is above p + 2 sqrt(p (1 - p) / n), two standard deviations of n guesses
    by heart    the held-out loss after the last epoch against its lowest:  above it by more than 5 % and by more than
                twice the median step from epoch to epoch of the later half, its usual ups and downs, while the loss on
                the training images fell since then, is overfitting. Shares a, b of right answers of n training and m
                held-out images, p of both: it knows the former better where a - b > 2 sqrt(p (1 - p) (1/n + 1/m))
    settled     the held-out loss in the last quarter of the epochs:  a fall of more than 5 % goes on
    collapsed   more than nine tenths of the images are given one answer, which is right for at most half of them

The thresholds are ours; each sentence has the numbers, for whoever draws the line elsewhere. The rest is said by the
results themselves: what is mixed up most, which layers are dead or stand still, how the classes part.
"""

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convscope.render.typography import number_text
from convscope.results import Shown
from convscope.trainings.confusion_over_epochs import ConfusionOverEpochs
from convscope.trainings.embedding_moving import NEAREST, EmbeddingMoving
from convscope.trainings.layer_health import LayerHealth
from convscope.trainings.loss_curves import LossCurves
from convscope.trainings.training_run import called
from convscope.wording import percent

ABOVE, ONE_ANSWER = 0.05, 0.9  # of a loss: what counts as moved; of the images that are given one answer


@dataclass(frozen=True)
class Finding:
    """A question that one has of a training, and its answer."""

    question: str
    answer: str


def findings(shown: Sequence[Shown]) -> list[Finding]:
    """The answers that the results have."""
    found: list[Finding] = []
    is_number = True
    for one in shown:
        if isinstance(one, LossCurves):
            is_number = math.isfinite(one.history[-1].losses[one.judged_by])
            found += [Finding("Is it learning?", learning(one)), Finding("Does it learn by heart?", by_heart(one))]
            found.append(Finding("Would more epochs help?", more_epochs(one)))
        elif isinstance(one, ConfusionOverEpochs):
            said = mixed_up(one) if is_number else "Nobody can say: the answers are NaN or infinite."
            found.append(Finding("What is mixed up?", said))
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
    by_luck = p + 2 * math.sqrt(p * (1 - p) / max(1, images))
    if share > by_luck:
        return f"Yes: {said}. Guessing gives {level}."
    if share > p:
        return f"Perhaps: {said}. Guessing gives {level}, and with luck {percent(by_luck)} of {images:,} images."
    return f"Not yet: {said}. That is no more than guessing gives, {level}."


def by_heart(curves: LossCurves) -> str:
    """The held-out loss since its lowest, beside that on the training images; and how much better it knows these."""
    best = curves.best_epoch
    if best is None or running_away(curves):
        return running_away(curves) or "Nobody can say: no loss was measured."
    if len(curves.splits) < 2:
        return "Nobody can say: nothing was held out."
    if len(curves.history) == 1:
        return "Nobody can say yet: one epoch was looked at."
    yet, is_rising = _since_lowest(curves)
    better = _knows_better(curves)
    if is_rising:
        return f"{yet} It {better}." if better else yet
    if better:
        return f"In part: it {better}; yet {yet}."
    return f"No: {yet}." if best == curves.history[-1].epoch else f"Hardly: {yet}."


def running_away(curves: LossCurves) -> str:
    """Says so where the loss is no number, or larger on the training images than it was at first; else nothing.

    Below log 2 the right classes are given more than a half (geometric mean): a good network that became less sure.
    """
    advice = "try a smaller learning rate."
    broken = [s.epoch for s in curves.history if not all(map(math.isfinite, s.losses.values()))]
    if broken:
        return f"The loss is NaN or infinite after epoch {broken[0]}: it runs away; {advice}"
    first, last, train = curves.history[0], curves.history[-1], curves.splits[0]
    before, now = first.losses[train], last.losses[train]
    if now <= max((1 + ABOVE) * before, math.log(2)):
        return ""
    moved = f"from {number_text(before)} after epoch {first.epoch} to {number_text(now)} after epoch {last.epoch}"
    return f"It runs away: the loss on {train} rose {moved}; {advice}"


def usual_step(curves: LossCurves) -> float:
    """The median step of the held-out loss from epoch to epoch, up or down, in the later half."""
    losses = [scores.losses[curves.judged_by] for scores in curves.history]
    late = losses[(len(losses) - 1) // 2 :]
    return statistics.median(abs(b - a) for a, b in itertools.pairwise(late))


def _since_lowest(curves: LossCurves) -> tuple[str, bool]:
    """What the held-out loss did since it was lowest, and whether that is a rise."""
    judged, train, best = curves.judged_by, curves.splits[0], curves.best_epoch
    lowest, last = next(scores for scores in curves.history if scores.epoch == best), curves.history[-1]
    if lowest is last:
        return f"the loss on {judged} is lowest after the last epoch", False
    low, now = lowest.losses[judged], last.losses[judged]
    if now - low <= max(ABOVE * low, 2 * usual_step(curves)):
        rise = f"by {percent((now - low) / low)}" if low else "a little"
        return f"the loss on {judged} has risen {rise} since epoch {best}, within its usual ups and downs", False
    moved = f"the loss on {judged} rose from {number_text(low)} after epoch {best} to {number_text(now)}"
    before, after = lowest.losses[train], last.losses[train]
    also = f"from {number_text(before)} to {number_text(after)}"
    if after < before:
        return f"Yes, since epoch {best}: {moved}, while that on {train} fell {also}.", True
    return f"It does not settle: {moved}, and that on {train} {also}.", True


def _knows_better(curves: LossCurves) -> str:
    """Says so where more of the training images are right than two deviations of the difference explain."""
    (train, *_, judged), right = curves.splits, curves.history[-1].accuracies
    seen, held = curves.images[train], curves.images[judged]
    p = (right[train] * seen + right[judged] * held) / (seen + held)
    if not right[train] - right[judged] > 2 * math.sqrt(p * (1 - p) * (1 / seen + 1 / held)):  # NaN likewise
        return ""
    return f"knows the {train} images better ({percent(right[train])} right, of {judged} {percent(right[judged])})"


def more_epochs(curves: LossCurves) -> str:
    """What the held-out loss did in the last quarter of the epochs."""
    losses = [scores.losses[curves.judged_by] for scores in curves.history]
    if running_away(curves) or not all(map(math.isfinite, losses)):
        return "No: first the loss must fall."
    if len(losses) == 1:
        return "Nobody can say yet: one epoch was looked at."
    start = min(len(losses) - 2, 3 * (len(losses) - 1) // 4)
    since, fall = f"from epoch {curves.history[start].epoch} on", losses[start] - losses[-1]
    if losses[-1] - min(losses) > max(ABOVE * min(losses), 2 * usual_step(curves)):
        return f"No: the loss on {curves.judged_by} was lowest after epoch {curves.best_epoch}, and rose since."
    slow = " The learning rate had fallen to next to nothing by then: a longer training is another one."
    also = slow if curves.is_annealed else ""
    if fall > ABOVE * losses[start]:
        is_lowest = curves.best_epoch == curves.history[-1].epoch
        how, but = "Probably" if is_lowest else "Perhaps", f", though it was lowest after epoch {curves.best_epoch}"
        fell = percent(fall / losses[start]) + ("" if is_lowest else but)
        return f"{how}: {since} the loss on {curves.judged_by} still fell by {fell}.{also}"
    moved = percent(abs(fall) / losses[start]) if losses[start] else "0%"
    return f"Hardly: {since} the loss on {curves.judged_by} changed by {moved}.{also}"


def mixed_up(confusions: ConfusionOverEpochs) -> str:
    """The three most frequent mistakes of the last epoch, and since when; or that all is called one thing."""
    counts, names = confusions.counts[-1], confusions.classes
    images, answered, wrong = int(counts.sum()), counts.sum(0), int(counts.sum() - np.trace(counts))
    most = int(answered.argmax())
    if answered[most] >= ONE_ANSWER * images and counts[most].sum() <= images / 2:
        everything = "Everything" if answered[most] == images else "Nearly everything"
        return f"{everything} is called {names[most]}: {answered[most]:,} of {images:,} images."
    never = [names[i] for i in np.flatnonzero((counts.sum(1) > 0) & (answered == 0))]
    left = f" No image is called {_either(never)}." if never else ""
    said = [_mistake(confusions, pair) for pair in confusions.mistakes[:3] if counts[pair] > 1]  # one is an accident
    if said:
        return f"Most often {', '.join(said)}.{left}"
    return f"Little: {wrong} of {images:,} images, no two in the same way.{left}" if wrong else "Nothing."


def _mistake(confusions: ConfusionOverEpochs, pair: tuple[int, int]) -> str:
    (i, j), counts = pair, confusions.counts[-1]
    since = f"since epoch {confusions.since(pair)}"
    return f"{confusions.classes[i]} called {confusions.classes[j]} ({counts[pair]} of {counts[i].sum()}, {since})"


def parting(embedding: EmbeddingMoving) -> str:
    """How many of an image's nearest are of its class, at first and at last."""
    first, last = (float(share) for share in embedding.alike[[0, -1], 0])
    said = f"Of an image's {NEAREST} nearest in {called(embedding.layer)}, {last:.0%} are of its class"
    if embedding.stands_still:
        return f"{said}, after every epoch: nothing up to there learns."
    said += f" after epoch {embedding.epochs[-1]}"
    said += f", {first:.0%} after epoch {embedding.epochs[0]}." if len(embedding.epochs) > 1 else "."
    return f"{said} {embedding.without}." if embedding.without else said


def _either(names: Sequence[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``; of more than five the first, and how many there are beside them."""
    named = [*names[:5], f"{len(names) - 5} others"] if len(names) > 5 else [*names]
    return " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
