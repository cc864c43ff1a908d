"""Where snapshots lie. Oracles: an unbroken training's files, byte by byte; what was there before."""

from pathlib import Path

import pytest
import torch
from torch import nn

from convscope.errors import ConvscopeError
from convscope.store.run_folder import Training, begin_training, read_training, training_of
from convscope.store.snapshots import epochs, read_snapshot, snapshot_path, write_snapshot
from convscope.training.probe import Probe
from convscope.training.snapshot import restored, stored
from tests.training.training_nets import CLASSES, dropout_and_norm

pytestmark = pytest.mark.global_rng


def net() -> nn.Module:
    torch.manual_seed(0)
    return dropout_and_norm()


def data(n: int = 12) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return {"train": (x, torch.arange(n) % CLASSES), "held out": (x + 0.1, torch.arange(n) % CLASSES)}


def moved(model: nn.Module, epoch: int) -> nn.Module:
    """As a training would have left it after an epoch, whatever was before."""
    generator = torch.Generator().manual_seed(epoch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "epochs").iterdir()}


def run(out: Path, upto: int, **how: object) -> Path:
    model = net()
    probe = Probe(model, None, data(), out=out, units=["0:1"], **how)  # pyright: ignore
    for epoch in range(upto + 1):
        probe(epoch) if epoch == 0 else probe_after(probe, model, epoch)
    folder = probe.finish()
    assert folder is not None
    return folder


def probe_after(probe: Probe, model: nn.Module, epoch: int) -> None:
    moved(model, epoch)
    assert probe(epoch) is not None


def test_snapshots_in_a_folder_are_those_in_memory(tmp_path: Path) -> None:
    model = net()
    kept, written = Probe(model, None, data(), units=["0:1"]), Probe(model, None, data(), out=tmp_path / "a.run")
    for probe in (kept, written):
        assert probe(0) is not None
    assert [s.scalars() for s in written.snapshots] == [s.scalars() for s in kept.snapshots]
    assert training_of(tmp_path / "a.run").state == "unfinished"
    assert written.finish() == tmp_path / "a.run"
    assert training_of(tmp_path / "a.run").state == "finished"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.run"]


def test_a_training_that_goes_on_gives_the_bytes_of_an_unbroken_one(tmp_path: Path) -> None:
    """It was killed after epoch 4 and goes on from its checkpoint of epoch 2."""
    whole = run(tmp_path / "whole.run", 5)
    first = Probe(model := net(), None, data(), out=tmp_path / "broken.run", units=["0:1"])
    first(0)
    for epoch in (1, 2, 3, 4):
        probe_after(first, model, epoch)
    goes_on = moved(net(), 2)
    second = Probe(goes_on, None, data(), out=tmp_path / "broken.run", units=["0:1"], resume=True)
    probe_after(second, goes_on, 3)
    assert epochs(tmp_path / "broken.run") == [0, 1, 2, 3]  # the fourth was of the training that was killed
    for epoch in (4, 5):
        probe_after(second, goes_on, epoch)
    second.finish()
    assert contents(tmp_path / "broken.run") == contents(whole)


def test_with_other_weights_than_the_last_snapshot_saw_no_change_is_told(tmp_path: Path) -> None:
    run(tmp_path / "a.run", 2)
    model = moved(net(), 7)
    probe = Probe(model, None, data(), out=tmp_path / "a.run", units=["0:1"], resume=True)
    snapshot = probe(3)
    assert snapshot is not None
    assert {layer.relative_change for layer in snapshot.layers} == {None}


def test_every_second_epoch_and_a_run_that_somebody_else_holds(tmp_path: Path) -> None:
    begin_training(tmp_path, Training(classes=("a", "b", "c")))
    probe = Probe(model := net(), None, data(), 2, run=tmp_path)
    for epoch in range(5):
        moved(model, epoch)
        assert (probe(epoch) is None) == bool(epoch % 2)
    assert epochs(tmp_path) == [0, 2, 4]
    assert probe.finish() == tmp_path
    there = read_training(tmp_path)
    assert there is not None
    assert not there.is_finished


def test_a_run_is_kept_until_a_new_one_is_whole(tmp_path: Path) -> None:
    folder = run(tmp_path / "a.run", 1)
    before = contents(folder)
    with pytest.raises(ConvscopeError, match="is there already"):
        Probe(net(), None, data(), out=folder)
    model = moved(net(), 9)
    probe = Probe(model, None, data(), out=folder, overwrite=True)
    probe(0)
    assert contents(folder) == before
    assert probe.finish() == folder
    assert epochs(folder) == [0]
    assert contents(folder) != before
    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]
    assert len(probe.snapshots) == 1


def test_a_cell_run_again_begins_anew(tmp_path: Path) -> None:
    first = Probe(net(), None, data(), out=tmp_path / "a.run", overwrite=True)
    first(0), first(1)
    with pytest.raises(ConvscopeError, match="is not finished"):
        Probe(net(), None, data(), out=tmp_path / "a.run")
    second = Probe(net(), None, data(), out=tmp_path / "a.run", overwrite=True)
    assert epochs(tmp_path / "a.run") == []
    second(0)
    assert second.finish() == tmp_path / "a.run"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_finished_run_is_gone_on_with_and_keeps_its_epochs(tmp_path: Path, overwrite: bool) -> None:
    folder = run(tmp_path / "a.run", 2)
    before = contents(folder)
    model = moved(net(), 2)
    probe = Probe(model, None, data(), out=folder, units=["0:1"], resume=True, overwrite=overwrite)
    assert not training_of(folder).is_finished
    probe_after(probe, model, 3)
    assert probe.finish() == folder
    assert epochs(folder) == [0, 1, 2, 3]
    assert before.items() <= contents(folder).items()
    assert probe.snapshots[3].layers[0].relative_change is not None
    assert training_of(folder).is_finished


def test_another_probe_s_run_is_not_gone_on_with(tmp_path: Path) -> None:
    folder = run(tmp_path / "a.run", 1)
    with pytest.raises(ConvscopeError, match=r"settings layers = \['0', '7'\], and is to go on with \['0'\]"):
        Probe(net(), ["0"], data(), out=folder, units=["0:1"], resume=True)
    with pytest.raises(ConvscopeError, match="data splits"):
        Probe(net(), None, data(9), out=folder, units=["0:1"], resume=True)
    assert training_of(folder).is_finished


def test_a_refused_probe_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match="no layer 'nowhere'"):
        Probe(net(), ["nowhere"], data(), out=tmp_path / "a.run")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ConvscopeError, match="is no training, and not empty"):
        Probe(net(), None, data(), out=tmp_path / "mine", overwrite=True)


def test_a_snapshot_on_disk_is_the_snapshot(tmp_path: Path) -> None:
    folder = run(tmp_path / "a.run", 1)
    there = restored(*read_snapshot(folder, 1))
    again = tmp_path / "again"
    write_snapshot(again, 1, *stored(there))
    assert snapshot_path(again, 1).read_bytes() == snapshot_path(folder, 1).read_bytes()
