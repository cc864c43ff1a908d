"""Snapshots in Weights & Biases, offline. Oracle: the run's own files, read back; a server is never spoken to."""

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.training.adapters.snapshot_pictures import pictures_of
from convscope.training.adapters.wandb import log_to_wandb
from tests.training.adapters.offline_runs import axes, rows
from tests.training.adapters.snapshots import PICTURES, SCALARS, a_snapshot


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch) -> Iterator[None]:
    """No way out but to the package's own service on this machine."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"), address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)
    yield
    wandb.teardown()


def a_run(folder: Path, use: Callable[[Any], None]) -> list[dict[str, Any]]:
    """Its rows, after ``use`` has logged into it."""
    with wandb.init(project="digits", mode="offline", dir=folder, settings=wandb.Settings(x_disable_stats=True)) as run:
        use(run)
    wandb.teardown()  # its service writes the file to the end
    return rows(folder)


def test_everything_is_read_back_in_its_epoch_s_row(tmp_path: Path) -> None:
    def use(run: Any) -> None:
        log = log_to_wandb(run)
        for epoch in (0, 1, 4):
            log(a_snapshot(epoch))

    found = a_run(tmp_path, use)
    assert [row["probe/epoch"] for row in found] == [0, 1, 4]
    assert [row["_step"] for row in found] == [0, 1, 2]
    assert [row["probe/held out/loss"] for row in found] == pytest.approx([0.75, 0.375, 0.15])
    for row in found[1:]:
        assert {f"probe/{name}" for name in SCALARS} <= set(row)
    assert "probe/layers/conv1/relative_change" not in found[0]
    assert axes(tmp_path) == {"probe/epoch": "", "probe/*": "probe/epoch"}
    for name, picture in pictures_of(a_snapshot(4)).items():
        (file,) = tmp_path.rglob(Path(found[2][f"probe/{name}/path"]).name)
        np.testing.assert_array_equal(np.asarray(Image.open(file).convert("RGB")), np.asarray(picture.convert("RGB")))
    assert {f"probe/{name}" for name in PICTURES} == {
        key.removesuffix("/sha256") for key in found[0] if "sha256" in key
    }
    assert found[0]["probe/values/conv1/values"] == [0, 3, 5, 7, 0]
    assert found[0]["probe/values/conv1/bins"] == [-2, -1, 0, 1, 2, 4]
    assert found[0]["probe/weights/conv1/values"] == [0, 6, 2]
    assert found[0]["probe/weights/conv1/bins"] == [-2, -1, 0, 1]


def own_row_a_batch(run: Any, log: Callable[..., None]) -> None:
    log(a_snapshot(0))
    for epoch in (1, 2):
        for batch in range(3):
            run.log({"batch": 10 * epoch + batch})
        log(a_snapshot(epoch))


def own_row_an_epoch_after(run: Any, log: Callable[..., None]) -> None:
    log(a_snapshot(0))
    for epoch in (1, 2):
        log(a_snapshot(epoch))
        run.log({"batch": epoch}, step=epoch)


def own_row_an_epoch_from_0_before(run: Any, log: Callable[..., None]) -> None:
    log(a_snapshot(0))
    for epoch in (0, 1):
        run.log({"batch": epoch}, step=epoch)
        log(a_snapshot(epoch + 1))


@pytest.mark.parametrize(
    ("train", "logged"),
    [
        (own_row_a_batch, [10, 11, 12, 20, 21, 22]),
        (own_row_an_epoch_after, [1, 2]),
        (own_row_an_epoch_from_0_before, [0, 1]),
    ],
)
def test_nothing_of_the_training_s_own_rows_is_lost_nor_of_ours(tmp_path: Path, train, logged: list[int]) -> None:
    """Oracle: what was logged, by either. W&B drops rows below its counter without an error."""
    found = a_run(tmp_path, lambda run: train(run, log_to_wandb(run)))
    assert [row["batch"] for row in found if "batch" in row] == logged
    assert [row["probe/epoch"] for row in found if "probe/epoch" in row] == [0, 1, 2]


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"the run that wandb.init\(...\) gives, not a str"):
        log_to_wandb("digits")


def test_without_the_package_the_way_to_install_it_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not there
    with pytest.raises(ConvscopeError, match=r"pip install 'convscope\[wandb\]'"):
        log_to_wandb(object())
