"""Confusions and prototypes: oracle, the answers to each photo one by one (``fake_atlas``), and closed forms."""

import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from convscope.atlases.confusions import OTHERS, Mistake, _mistakes, confusions, most_mistaken
from convscope.atlases.prototypes import prototypes, suspects
from convscope.errors import ConvscopeError
from convscope.store.atlas import Atlas
from tests import friendly
from tests.atlases.fake_atlas import FakeAtlas
from tests.atlases.slow_survey import both


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Atlas, FakeAtlas]:
    return both(tmp_path_factory.mktemp("surveyed"))


def test_answers_are_counted_and_either_of_two_right_classes_is_right(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    atlas, slow = surveyed
    made = confusions(atlas)
    top = slow.logits.argmax(1).tolist()
    assert int(made.counts.sum()) == len(slow.names)
    wanted = Counter(zip(slow.labels, top, strict=True))
    for row, name in enumerate(made.classes):
        # columns are told apart by number: two classes are called crane
        numbers = sorted({n for _, n in wanted} | {n for each in made.classes for n in slow.right(each)})
        assert made.counts[row].tolist() == [wanted[name, number] for number in numbers]
        assert made.is_right[row].tolist() == [number in slow.right(name) for number in numbers]
    right = sum(t in slow.right(label) for t, label in zip(top, slow.labels, strict=True))
    assert made.accuracy == pytest.approx(right / len(top))
    assert dict(made.accuracies) == slow.accuracy()
    assert made.picture().width > 500


def test_mistakes_come_most_frequent_first(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    made = confusions(surveyed[0])
    counts = [mistake.images for mistake in made.mistakes]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == int(made.counts[~made.is_right].sum())
    for mistake in made.mistakes:
        assert mistake.share == mistake.images / made.counts[made.classes.index(mistake.name)].sum()
    assert made.as_json()["mistakes"][0]["images"] == counts[0]


def test_right_answers_and_classes_that_the_network_has_not_are_no_mistakes() -> None:
    counts = np.array([[7, 1, 0], [4, 5, 1], [2, 2, 2]])
    right = np.array([[True, False, False], [False, True, False], [False, False, False]])  # the third is a group
    found = _mistakes(("a", "b", "group"), ("a", "b", "c"), counts, right)
    assert found == (Mistake("b", "a", 4, 0.4), Mistake("a", "b", 1, 0.125), Mistake("b", "c", 1, 0.1))


def test_a_matrix_of_some_classes_has_the_other_answers_in_one_column(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    made = confusions(surveyed[0], ["tabby", "crane"])
    answers, counts, is_right = made._matrix()
    rows = [made.classes.index(name) for name in made.shown]
    assert counts.sum(1).tolist() == made.counts[rows].sum(1).tolist()
    assert answers[:3] == ["tabby", "crane", "crane"]
    assert is_right[:, :3].tolist() == [[True, False, False], [False, True, True]]
    if len(answers) == 4:
        assert answers[3] == OTHERS


def test_of_many_classes_those_that_are_taken_for_each_other() -> None:
    counts = np.diag(np.full(6, 10))
    counts[4, 1], counts[2, 5] = 5, 3
    counts = np.pad(counts, ((0, 0), (0, 1)))
    counts[3, 6] = 9  # more mistakes, but with a class that the data has not
    right = np.eye(6, 7, dtype=bool)
    assert most_mistaken(counts, right, 2) == [1, 4]
    assert most_mistaken(counts, right, 4) == [1, 2, 4, 5]
    assert most_mistaken(counts, right, 5) == [1, 2, 3, 4, 5]
    assert most_mistaken(counts, right, 6) == list(range(6))


def test_prototypes_are_the_least_loss_and_the_largest_logit_of_each_class(
    surveyed: tuple[Atlas, FakeAtlas],
) -> None:
    atlas, slow = surveyed
    made = prototypes(atlas)
    assert tuple(made.rows) == slow.classes
    for name, kinds in made.rows.items():
        wanted = slow.prototypes(name)
        for kind, key in (("least loss", "loss"), ("largest logit", "logit")):
            assert kinds[kind][0]["image"] == wanted[kind][0]["image"]
            assert kinds[kind][0][key] == pytest.approx(wanted[kind][0][key], rel=1e-4)
    assert made.photos.photo(made.rows["tabby"]["least loss"][0]["image"]).mode == "RGB"
    assert made.picture().width > 300
    assert [row["class"] for row in prototypes(atlas, ["tabby"]).as_json()] == ["tabby"]
    assert list(prototypes(atlas, most=1).rows) == [
        min(slow.classes, key=lambda name: slow.prototypes(name)["least loss"][0]["loss"])
    ]


def test_suspects_are_the_largest_losses(surveyed: tuple[Atlas, FakeAtlas]) -> None:
    atlas, slow = surveyed
    made = suspects(atlas, 4)
    every = [
        row
        for row in slow.suspects(100)
        if row["loss"] > math.log(2) or row["predicted"] not in slow.right(row["label"])
    ]
    wanted = every[:4]
    assert made.of == len(every)
    assert made.line.startswith(f"The 4 of largest loss of {len(every)} images")
    assert [row["image"] for row in made.rows] == [row["image"] for row in wanted]
    np.testing.assert_allclose(made.arrays()["loss"], [row["loss"] for row in wanted], rtol=1e-4)
    assert made.picture().width > 300


def test_what_is_answered_rightly_and_surely_is_no_suspect(
    surveyed: tuple[Atlas, FakeAtlas], monkeypatch: pytest.MonkeyPatch
) -> None:
    atlas = surveyed[0]
    wrong, unsure, sure = (dict(row) for row in atlas.suspects(3))
    right = atlas.right(sure["label"])[0]
    wrong |= {"predicted": next(k for k in range(9) if k not in atlas.right(wrong["label"])), "loss": 0.69}
    unsure |= {"predicted": atlas.right(unsure["label"])[0], "loss": 0.70}
    sure |= {"predicted": right, "loss": 0.69}
    monkeypatch.setattr(Atlas, "suspects", lambda *_: [unsure, wrong, sure])
    made = suspects(atlas, 100)
    assert [row["image"] for row in made.rows] == [unsure["image"], wrong["image"]]
    assert made.line == "All 2 images that are answered wrongly, or with the right class below one half"
    monkeypatch.setattr(Atlas, "suspects", lambda *_: [sure])
    none = suspects(atlas)
    assert (none.rows, none.of) == ((), 0)
    assert none.line == "No image is answered wrongly, or with the right class below one half"
    assert none.picture().width > 100


def test_photos_that_are_gone_leave_their_place_and_all_gone_are_refused(
    surveyed: tuple[Atlas, FakeAtlas], tmp_path: Path
) -> None:
    atlas, slow = surveyed
    moved = tmp_path / "moved"
    shutil.copytree(slow.about["data"], moved)
    made = prototypes(atlas, data=str(moved))
    gone = made.rows["crane"]["least loss"][0]["image"]
    (moved / gone).unlink()
    assert made.photos.photo(gone) is None
    assert made.picture().width > 300
    for path in moved.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ConvscopeError, match=r"none of the \d+ photos can be read .* --data"):
        prototypes(atlas, data=str(moved)).picture()


def test_without_labels_there_are_no_classes(tmp_path: Path) -> None:
    from convscope.atlases.surveying import survey
    from tests.atlases.surveyed import photo_folder

    photos = photo_folder(tmp_path / "photos", 6)
    atlas = survey(friendly.network(), photos, tmp_path / "bare.atlas", ["conv1"], labels="none", pictures=False)
    for ask in (confusions, prototypes, suspects):
        with pytest.raises(ConvscopeError, match=r"bare\.atlas has no classes: its photos had no labels"):
            ask(atlas)
