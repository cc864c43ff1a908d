"""The embedding in motion, laid out anew, standing still, or gone.

Oracles: the points that were kept, ``embed_after`` by hand, counts, closed forms.
"""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convscope.dataset.embedding import neighbours_kept
from convscope.errors import ConvscopeError
from convscope.training.aligned_embedding import embed_after
from convscope.trainings import embedding_moving as embedding_module
from convscope.trainings.between_epochs import FRAMES, between, seconds_of
from convscope.trainings.embedding_moving import embedding_moving
from convscope.trainings.findings import parting
from convscope.trainings.training_run import open_training
from tests.trainings.runs import embedded, snapshot, usual, write_run

NAN = float("nan")


def test_frames_between_snapshots() -> None:
    """Closed form: each snapshot once with share 0, smooth steps between, never more frames than asked for."""
    assert [(one.start, one.share) for one in between(1)] == [(0, 0.0)]
    for count in (2, 5, 20, 200):
        frames = list(between(count))
        assert [one.start for one in frames if not one.share] == list(range(count))
        assert len(frames) <= max(FRAMES, count)
        assert frames[-1].start == count - 1
    values = [np.array([0.0]), np.array([8.0]), np.array([4.0])]
    drawn = [one.of(values)[0] for one in between(3, 5)]
    assert drawn == [0.0, 4.0, 8.0, 6.0, 4.0]
    assert next(one.share for one in between(2, 5) if one.share) == pytest.approx(3 * 0.25**2 - 2 * 0.25**3)
    assert seconds_of(1) == 2.0
    assert seconds_of(2 * FRAMES) == 2 * seconds_of(FRAMES)


def test_points_are_placed_at_their_own_spread_and_kept_raw(tmp_path: Path) -> None:
    found = embedding_moving(open_training(usual(tmp_path)))
    raw = np.stack([embedded(epoch).points for epoch in range(4)])
    np.testing.assert_array_equal(found.arrays()["points"], raw)
    centred = raw - raw.mean(1, keepdims=True)
    np.testing.assert_allclose(found.spreads, np.linalg.norm(centred, axis=(1, 2)) / math.sqrt(12))
    scaled = centred / found.spreads[:, None, None]
    placed = found.placed
    assert np.abs(placed).max() <= 1
    # one motion and one scale for all epochs: distances between any two points keep their ratio
    far = np.linalg.norm(placed[:, :, None] - placed[:, None], axis=-1)
    true = np.linalg.norm(scaled[:, :, None] - scaled[:, None], axis=-1)
    ratio = far[true > 0] / true[true > 0]
    np.testing.assert_allclose(ratio, ratio[0])


def test_the_film_moves_the_points_from_snapshot_to_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at: list[np.ndarray] = []
    drawn = embedding_module.PointsPage.drawn
    monkeypatch.setattr(
        embedding_module.PointsPage, "drawn", lambda page, points: (at.append(points), drawn(page, points))[1]
    )
    found = embedding_moving(open_training(usual(tmp_path, (0, 1, 3))))
    frames = found.frames()
    steps = list(between(3))
    assert len(frames) == len(steps) == len(at)
    assert len({frame.size for frame in frames}) == 1
    for one, points in zip(steps, at, strict=True):
        if not one.share:
            np.testing.assert_array_equal(points, found.placed[one.start])
        else:
            below, above = found.placed[one.start], found.placed[one.start + 1]
            np.testing.assert_allclose(points, below + one.share * (above - below))


def test_the_share_of_neighbours_of_ones_class(tmp_path: Path) -> None:
    """Of three clouds of four far apart, 3 of the 10 nearest are of one's own: in the layer and on the page."""
    far = embedded(100)
    found = embedding_moving(open_training(write_run(tmp_path / "a.run", [snapshot(0, embedding=far)])))
    np.testing.assert_allclose(found.alike, [[0.3, 0.3]])
    assert "30% in the layer, 30% here" in found.facts()["epoch 0"]


def test_no_embedding_and_other_images_are_refused(tmp_path: Path) -> None:
    said = {"embedding": "the network has one layer"}
    bare = open_training(write_run(tmp_path / "a.run", [snapshot(0, embedding=None, left_out=said)]))
    with pytest.raises(ConvscopeError, match=r"a\.run has no embedding: the network has one layer"):
        embedding_moving(bare)
    other = replace(embedded(1), labels=np.zeros(12, np.int64))
    mixed = open_training(write_run(tmp_path / "b.run", [snapshot(0), snapshot(1, embedding=other), snapshot(2)]))
    with pytest.raises(ConvscopeError, match="after epoch 1 is of other images"):
        embedding_moving(mixed)


def test_points_that_all_lie_in_one_place_can_be_drawn(tmp_path: Path) -> None:
    dot = replace(embedded(0), points=np.zeros((12, 2)), shares=(NAN, NAN))
    found = embedding_moving(open_training(write_run(tmp_path / "a.run", [snapshot(0, embedding=dot), snapshot(1)])))
    found.picture()
    assert np.isfinite(found.placed).all()


def test_neighbours_kept_is_counted() -> None:
    """Points on a line and the same in another order: of each one's two nearest, by hand."""
    line = np.array([[0.0], [1.0], [2.1], [3.3], [4.6]])
    assert neighbours_kept(line, np.hstack([3 * line, 0 * line]), 2) == 1.0
    swapped = line[[0, 1, 2, 4, 3]]  # the last two change places
    near = [{1, 2}, {0, 2}, {1, 3}, {2, 4}, {3, 2}]
    after = [{1, 2}, {0, 2}, {1, 4}, {4, 2}, {2, 3}]
    expected = np.mean([len(a & b) / 2 for a, b in zip(near, after, strict=True)])
    assert neighbours_kept(line, np.hstack([swapped, 0 * line]), 2) == pytest.approx(expected)
    assert np.isnan(neighbours_kept(line[:1], line[:1].repeat(2, 1)))


def test_what_is_kept_is_that_of_the_layer_and_the_page(tmp_path: Path) -> None:
    """The features are the points, so all neighbours are kept; of points in another order, as many as are counted."""
    run = open_training(usual(tmp_path))
    np.testing.assert_allclose(embedding_moving(run).kept, 1.0)
    assert "kept: 100%" in embedding_moving(run).facts()["epoch 3"]
    turned = replace(embedded(1), points=embedded(1).points[::-1].copy())
    found = embedding_moving(open_training(write_run(tmp_path / "b.run", [snapshot(1, embedding=turned)])))
    assert found.kept[0] == neighbours_kept(turned.features, turned.points)
    assert found.kept[0] < 1


def test_t_sne_begins_each_map_at_the_one_before(tmp_path: Path) -> None:
    run = open_training(usual(tmp_path, (0, 1)))
    found = embedding_moving(run, "t-sne")
    first = embed_after(embedded(0).features, None, "t-sne").points
    second = embed_after(embedded(1).features, first, "t-sne").points
    np.testing.assert_array_equal(found.points, [first, second])
    assert (found.method, found.facts()["by"]) == ("t-sne", "t-SNE")
    assert not any("spread" in said or "variance" in said for said in found._notes(1))  # sizes mean nothing
    assert embedding_moving(run).method == "pca"
    with pytest.raises(ConvscopeError, match="did you mean 't-sne'"):
        embedding_moving(run, "tsne")


def test_as_the_probe_kept_it_unless_asked_for_otherwise(tmp_path: Path) -> None:
    by_t_sne = replace(embedded(0), method="t-sne", shares=(float("nan"), float("nan")))
    run = open_training(write_run(tmp_path / "a.run", [snapshot(0, embedding=by_t_sne)]))
    np.testing.assert_array_equal(embedding_moving(run).points[0], by_t_sne.points)
    assert embedding_moving(run).method == "t-sne"
    np.testing.assert_array_equal(embedding_moving(run, "t-sne").points[0], by_t_sne.points)
    anew = embedding_moving(run, "pca")
    np.testing.assert_allclose(anew.points[0], embed_after(by_t_sne.features, None, "pca").points)
    assert "% of variance" in anew.facts()["epoch 0"]


def test_a_layer_that_stands_still_is_drawn_once_and_says_so(tmp_path: Path) -> None:
    made = [snapshot(epoch, embedding=embedded(2)) for epoch in range(4)]
    found = embedding_moving(open_training(write_run(tmp_path / "a.run", made)))
    assert found.stands_still
    assert found.title == "The classes in dense, the same after every epoch"
    assert len(found.frames()) == 1
    assert found.picture().height < embedding_moving(open_training(usual(tmp_path))).picture().height
    assert parting(found).endswith("after every epoch: nothing up to there learns.")
    assert not embedding_moving(open_training(usual(tmp_path / "b"))).stands_still
    one = embedding_moving(open_training(write_run(tmp_path / "c.run", [snapshot(0)])))
    assert not one.stands_still  # nobody knows


def test_epochs_without_a_map_are_said_with_the_reason(tmp_path: Path) -> None:
    gone = {"embedding": None, "left_out": {"embedding": "all 12 images have the same features"}}
    made = [snapshot(0), snapshot(1), snapshot(2, **gone), snapshot(3, **gone)]
    found = embedding_moving(open_training(write_run(tmp_path / "a.run", made)))
    assert found.epochs == (0, 1)
    assert found.without == "None after epochs 2, 3: all 12 images have the same features"
    assert found.without in found._subtitle
    assert parting(found).endswith(f"{found.without}.")
