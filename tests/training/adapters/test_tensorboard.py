"""Snapshots in TensorBoard. Oracle: the events that the package itself reads back from its files."""

import io
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from convscope.errors import ConvscopeError
from convscope.training.adapters.snapshot_pictures import pictures_of
from convscope.training.adapters.tensorboard import log_to_tensorboard
from tests.training.adapters.snapshots import PICTURES, SCALARS, a_snapshot


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "histograms": 0})
    found.Reload()
    return found


def tagged(names: set[str], prefix: str = "probe") -> set[str]:
    return {f"{prefix}/{name}".replace(" ", "_") for name in names}


@pytest.fixture
def logged(tmp_path: Path) -> EventAccumulator:
    """Three snapshots beside a curve of the training's own."""
    with SummaryWriter(str(tmp_path)) as writer:
        log = log_to_tensorboard(writer)
        for epoch in (0, 1, 4):
            writer.add_scalar("train/loss", 100 + epoch, epoch)
            log(a_snapshot(epoch))
    return events(tmp_path)


def test_every_number_is_read_back_at_its_epoch(logged: EventAccumulator) -> None:
    assert set(logged.Tags()["scalars"]) == tagged(SCALARS) | {"train/loss"}
    read = [(event.step, event.value) for event in logged.Scalars("probe/held_out/loss")]
    assert read == [(epoch, pytest.approx(0.75 / (epoch + 1))) for epoch in (0, 1, 4)]
    assert [event.step for event in logged.Scalars("probe/layers/conv1/relative_change")] == [1, 4]
    assert [event.value for event in logged.Scalars("train/loss")] == [100, 101, 104]


def test_every_picture_is_read_back_pixel_by_pixel(logged: EventAccumulator) -> None:
    assert set(logged.Tags()["images"]) == tagged(PICTURES)
    for name in PICTURES:
        found = logged.Images(f"probe/{name}".replace(" ", "_"))
        assert [event.step for event in found] == [0, 1, 4]
        pixels = np.asarray(Image.open(io.BytesIO(found[2].encoded_image_string)))
        np.testing.assert_array_equal(pixels, np.asarray(pictures_of(a_snapshot(4))[name].convert("RGB")))


def test_histograms_are_the_counts_between_their_edges(logged: EventAccumulator) -> None:
    assert sorted(logged.Tags()["histograms"]) == ["probe/values/conv1", "probe/weights/conv1"]  # pool1 counted nothing
    found = logged.Histograms("probe/values/conv1")[0].histogram_value
    assert (found.min, found.max, found.num) == (-1.0, 2.0, 15)
    held = dict(zip(found.bucket_limit, found.bucket, strict=True))
    assert {limit: count for limit, count in held.items() if count} == {0.0: 3, 1.0: 5, 2.0: 7}
    assert found.sum / found.num == pytest.approx(0.5)
    assert math.sqrt(found.sum_squares / found.num - 0.5**2) == pytest.approx(1.5)
    weights = logged.Histograms("probe/weights/conv1")[0].histogram_value
    assert (weights.min, weights.max, weights.num) == (-1.0, 1.0, 8)
    assert (weights.sum, weights.sum_squares) == (6 * -0.5 + 2 * 0.5, 3.5**2)


def test_a_folder_and_another_prefix(tmp_path: Path) -> None:
    log = log_to_tensorboard(tmp_path / "events", prefix="held out net")
    log(a_snapshot())
    assert set(events(tmp_path / "events").Tags()["scalars"]) == tagged(SCALARS, "held_out_net")


def test_numbers_that_are_not_finite_are_logged_as_they_are(tmp_path: Path) -> None:
    with SummaryWriter(str(tmp_path)) as writer:
        snapshot = a_snapshot()
        object.__setattr__(snapshot.splits["train"], "loss", float("nan"))
        log_to_tensorboard(writer)(snapshot)
    assert math.isnan(events(tmp_path).Scalars("probe/train/loss")[0].value)


def test_what_does_not_write_is_refused() -> None:
    with pytest.raises(ConvscopeError, match=r"SummaryWriter or a folder, not a dict, which has no add_scalar"):
        log_to_tensorboard({})


def test_without_tensorboard_the_way_to_install_it_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not there
    with pytest.raises(ConvscopeError, match=r"pip install 'convscope\[tensorboard\]'"):
        log_to_tensorboard(tmp_path / "events")
    assert not (tmp_path / "events").exists()
