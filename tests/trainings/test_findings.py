"""What is said of a training. Oracles: rules by hand on made-up losses and counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convscope.stamps import Stamp
from convscope.trainings.confusion_over_epochs import ConfusionOverEpochs
from convscope.trainings.findings import _either, by_heart, findings, learning, mixed_up, more_epochs, parting
from convscope.trainings.loss_curves import LossCurves, loss_curves
from convscope.trainings.report import drawn_sections
from convscope.trainings.training_run import Scores, open_training
from tests.trainings.runs import STAMP, snapshot, usual, write_run


def curves(train: list[float], held_out: list[float], accuracy: float = 0.9, chance: float | None = 0.1) -> LossCurves:
    history = tuple(
        Scores(epoch, {"train": a, "held out": b}, {"train": 1.0, "held out": accuracy})
        for epoch, (a, b) in enumerate(zip(train, held_out, strict=True))
    )
    images = {"train": 100, "held out": 100}
    return LossCurves("a.run", history, ("train", "held out"), "held out", images, chance, "", Stamp(**STAMP))


@pytest.mark.parametrize(
    ("train", "held_out", "said"),
    [
        ([2.0, 1.0, 0.5], [2.0, 1.5, 1.4], "No: the loss on held out is lowest after the last epoch"),
        ([2.0, 1.0, 0.5, 0.3, 0.2, 0.1], [2.0, 1.0, 1.1, 1.2, 1.3, 1.4], "Yes, since epoch 1"),
        (
            [2.0, 1.0, 0.5, 0.3, 0.2, 0.1],
            [2.0, 1.0, 1.01, 1.02, 1.01, 1.04],
            "Hardly: the loss on held out has risen by 4",
        ),
        # 10 % above the lowest, but so it goes up and down all the time
        ([2.0, 1.0, 0.5, 0.3, 0.2, 0.1], [2.0, 1.3, 1.5, 1.0, 1.4, 1.1], "Hardly"),
        ([2.0, 1.0, 1.2, 1.4, 1.6, 1.8], [2.0, 1.0, 1.2, 1.4, 1.6, 1.8], "It does not settle"),
        ([2.0, float("nan")], [2.0, 1.0], "NaN or infinite after epoch 1"),
        (
            [0.01, 0.012, 0.011],
            [0.3, 0.2, 0.1],
            "No: the loss on held out is lowest",
        ),
        (
            [2.0, 1.0, 9.0],
            [2.0, 1.0, 0.9],
            "It runs away: the loss on train rose from 2 after epoch 0 to 9 after epoch 2",
        ),
        ([2.0], [2.0], "Nobody can say yet"),
    ],
)
def test_learning_by_heart(train: list[float], held_out: list[float], said: str) -> None:
    assert said in by_heart(curves(train, held_out, 0.98))


def test_training_images_that_are_known_better_are_learning_by_heart_in_part() -> None:
    """Of 100 and 100 images, 100 % and 95 % are 2.26 deviations apart: sqrt(0.975 * 0.025 / 50) is 0.0221."""
    falling = [2.0, 1.0, 0.5], [2.0, 1.5, 1.4]
    assert by_heart(curves(*falling, 0.95)) == (
        "In part: it knows the train images better (100.0% right, of held out 95.0%); "
        "yet the loss on held out is lowest after the last epoch."
    )
    assert by_heart(curves(*falling, 0.97)).startswith("No: ")
    assert by_heart(curves(*falling, float("nan"))).startswith("No: ")
    rising = [2.0, 1.0, 0.5, 0.3, 0.2, 0.1], [2.0, 1.0, 1.1, 1.2, 1.3, 1.4]
    assert by_heart(curves(*rising, 0.5)).endswith(
        "It knows the train images better (100.0% right, of held out 50.0%)."
    )


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ([2.0], "Nobody can say yet"),
        ([2.0, 1.0], "Probably: from epoch 0 on the loss on held out still fell by 50.0%."),
        ([2.0, 1.5, 1.2, 1.1, 1.0], "Probably: from epoch 3 on the loss on held out still fell by 9.1%."),
        ([2.0, 1.5, 1.2, 1.01, 1.0], "Hardly: from epoch 3 on the loss on held out changed by 1.0%."),
        (
            [2.0, 1.0, 0.5, 0.8, 0.52],
            "Perhaps: from epoch 3 on the loss on held out still fell by 35.0%, though it was lowest after epoch 2.",
        ),
        ([2.0, 1.0, 1.1, 1.2, 1.3, 1.4], "No: the loss on held out was lowest after epoch 1, and rose since."),
        ([2.0, float("nan")], "No: first the loss must fall."),
    ],
)
def test_whether_more_epochs_would_help(held_out: list[float], said: str) -> None:
    train = [2.0 - 0.1 * epoch for epoch in range(len(held_out))]
    assert more_epochs(curves(train, held_out)).startswith(said)
    annealed = replace(curves(train, held_out), is_annealed=True)
    assert ("learning rate had fallen" in more_epochs(annealed)) is said.startswith(("Hardly", "Perhaps", "Probably"))


def test_of_a_sample_it_is_known_how_many_there_are(tmp_path: Path) -> None:
    data = {"splits": {"train": {"images": 1352}, "held out": {"images": None}}}
    folder = write_run(tmp_path / "a.run", [snapshot(0), snapshot(1)], data=data)
    assert loss_curves(open_training(folder)).all_images == {"train": 1352}


def test_a_rate_that_falls_to_nothing_is_read_off_the_settings(tmp_path: Path) -> None:
    for rate, epochs, expected in (("cosine", 1, True), ("constant", 1, False), ("cosine", 9, False)):
        said = {"settings": {"rate": rate}, "epochs": epochs}
        folder = write_run(tmp_path / f"{rate}{epochs}.run", [snapshot(0), snapshot(1)], **said)
        assert loss_curves(open_training(folder)).is_annealed is expected


def test_learning_is_more_than_guessing() -> None:
    """Two standard deviations of 100 guesses at 0.1 are 0.06."""
    assert learning(curves([1.0], [1.0], 0.17)).startswith("Yes")
    assert learning(curves([1.0], [1.0], 0.15)).startswith("Perhaps")
    assert "with luck 16.0% of 100 images" in learning(curves([1.0], [1.0], 0.15))
    assert learning(curves([1.0], [1.0], 0.1)).startswith("Not yet")
    assert learning(curves([1.0], [1.0], float("nan"))).startswith("Nobody can say")
    assert learning(curves([1.0, 0.5], [1.0, 0.5], 0.5, None)) == (
        "50.0% of the held out images are answered rightly after epoch 1, 50.0% after epoch 0."
    )


def confusions(*counts: list[list[int]]) -> ConfusionOverEpochs:
    names, epochs = ("cat", "dog", "hen"), tuple(range(len(counts)))
    return ConfusionOverEpochs("a.run", "held out", names, epochs, np.array(counts), "", Stamp(**STAMP))


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([[9, 0, 0], [0, 9, 0], [0, 0, 9]], "Nothing."),
        ([[8, 1, 0], [0, 9, 0], [0, 1, 8]], "Little: 2 of 27 images, no two in the same way."),
        ([[0, 9, 0], [0, 9, 0], [0, 9, 0]], "Everything is called dog: 27 of 27 images."),
        ([[1, 8, 0], [0, 9, 0], [1, 8, 0]], "Nearly everything is called dog: 25 of 27 images."),
        # no collapse: that is what most of them are
        (
            [[30, 0, 0], [2, 0, 0], [0, 0, 0]],
            "Most often dog called cat (2 of 2, since epoch 0). No image is called dog.",
        ),
        ([[5, 4, 0], [0, 9, 0], [5, 4, 0]], "Most often hen called cat (5 of 9, since epoch 0), cat called dog"),
    ],
)
def test_what_is_mixed_up(counts: list[list[int]], said: str) -> None:
    assert mixed_up(confusions(counts)).startswith(said)


def test_answers_that_are_no_numbers_mix_up_nothing() -> None:
    """Of NaN the largest is the first class."""
    broken = curves([2.0, float("nan")], [2.0, float("nan")])
    said = {one.question: one.answer for one in findings([broken, confusions([[9, 0, 0], [9, 0, 0], [9, 0, 0]])])}
    assert said["What is mixed up?"] == "Nobody can say: the answers are NaN or infinite."
    sound = findings([curves([2.0], [2.0]), confusions([[9, 0, 0], [9, 0, 0], [9, 0, 0]])])
    assert sound[-1].answer.startswith("Everything is called cat")


def test_every_question_has_its_answer(tmp_path: Path) -> None:
    drawn, _ = drawn_sections(open_training(usual(tmp_path)))
    said = {one.question: one.answer for one in findings([one.shown for one in drawn])}
    assert said["What is mixed up?"] == "Most often dog called hen (3 of 4, since epoch 2)."
    assert said["Do layers die or stand still?"] == "Dead units: 50.0% of relu1."
    assert list(said) == [
        "Is it learning?", "Does it learn by heart?", "Would more epochs help?", "What is mixed up?",
        "Do the classes part?", "Do layers die or stand still?",
    ]  # fmt: skip
    right = [snapshot(e, splits=snapshot(1).splits) for e in (0, 1)]
    drawn, _ = drawn_sections(open_training(write_run(tmp_path / "b.run", right)))
    assert mixed_up(drawn[1].shown) == "Nothing."
    assert parting(drawn[2].shown).endswith("after epoch 0.")
    assert loss_curves(open_training(tmp_path / "b.run")).best_epoch == 0  # the first of equals


def test_names_in_a_row_end_with_or() -> None:
    said = [_either(["a", "b", "c", "d", "e", "f", "g"][:count]) for count in (1, 2, 3, 5, 7)]
    assert said == ["a", "a or b", "a, b or c", "a, b, c, d or e", "a, b, c, d, e or 2 others"]
