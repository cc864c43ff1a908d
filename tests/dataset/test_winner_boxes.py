"""Boxes of winners. Oracle: ``layer_views`` of each winner's own size, one after the other."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.dataset import winner_boxes
from convscope.network.layer_boxes import LayerView, layer_views
from tests import friendly
from tests.dataset.small_survey import noise

SIZES = ((12, 12), (12, 14), (13, 12), (15, 11), (16, 16), (11, 18))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four dozen photos of six sizes."""
    (tmp_path / "photos").mkdir()
    for name, content in noise(48, sizes=SIZES).items():
        (tmp_path / "photos" / name).write_bytes(content)
    return tmp_path / "photos"


def test_each_size_is_passed_once_with_one_thread_and_the_boxes_of_one_are_held(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = friendly.network(preprocess=cs.Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3))
    passed, alive, most = list[tuple[int, int]](), weakref.WeakSet[LayerView](), 0

    def watched(model: Any, layers: Any, size: tuple[int, int], like: Any) -> dict[str, LayerView]:
        nonlocal most
        gc.collect()
        most = max(most, len(alive))
        assert torch.get_num_threads() == 1
        passed.append(size)
        found = layer_views(model, layers, size, like)
        for view in found.values():
            alive.add(view)
        return found

    monkeypatch.setattr(winner_boxes, "layer_views", watched)
    torch.set_num_threads(2)
    try:
        atlas = cs.survey(net, photos, tmp_path / "x.atlas", ["conv1", "conv2"], pictures=False, labels="none")
    finally:
        torch.set_num_threads(1)
    assert sorted(passed[1:]) == sorted(SIZES)  # the first is for the rows of the layers
    assert most == 0  # those before have gone when the next are made
    sizes = {f"{number:06d}.png": SIZES[number % len(SIZES)] for number in range(48)}
    like = torch.zeros(1, 3, 12, 12)
    for layer in ("conv1", "conv2"):
        for unit in atlas.units(layer):
            for (_, name, y, x), box in zip(atlas.exemplars(unit), atlas.boxes(unit), strict=True):
                view = layer_views(net.module, [layer], sizes[name], like)[layer]
                assert box == tuple(view.boxes_at(np.array(y), np.array(x)).tolist())


def test_winners_are_told_size_by_size(photos: Path, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    net = friendly.network(preprocess=cs.Preprocess(size=None, crop=None, mean=(0.5,) * 3, std=(0.5,) * 3))
    cs.survey(
        net, photos, tmp_path / "x.atlas", "conv1", pictures=False, labels="none",
        on_step=lambda *step: steps.append(step),
    )  # fmt: skip
    assert [step[1:] for step in steps if step[0] == "find boxes"] == [(n + 1, len(SIZES)) for n in range(len(SIZES))]
