"""A probe in Lightning's Trainer. Oracle: the same training without it, to the last bit."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from convscope.errors import ConvscopeError
from convscope.training.adapters.lightning import ProbeCallback
from convscope.training.random_states import kept_random_states
from convscope.training.snapshot import Snapshot
from tests.training.adapters.lightning_training import CASES, NETS, QUIET, Validated, digits, digits_net, trained

pytestmark = [
    # Lightning advises more processes for loading
    pytest.mark.filterwarnings("ignore:The '(train|val)_dataloader' does not have many workers:UserWarning"),
    # asks torch something that torch would have it ask otherwise
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning"),
    # and tells of every checkpoint folder that is not empty
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty:UserWarning"),
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[list[str], list[int]]]:
    """Case -> what differs from the training without the callback, and the epochs of the snapshots."""
    run = [
        sys.executable,
        "-m",
        "tests.training.adapters.lightning_training",
        str(tmp_path_factory.mktemp("lightning")),
    ]
    here = Path(__file__).resolve().parents[3]
    done = subprocess.run(run, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("net", NETS)
def test_a_training_is_to_the_last_bit_as_without_the_callback(net: str, case: str, compared) -> None:
    """Weights, checkpoint, optimiser, gradients, flags, metrics, every random state."""
    assert compared[f"{net}, {case}"] == [[], [0, 1, 2]]


def test_one_more_random_number_would_have_been_seen(compared) -> None:
    assert any(line.startswith("/weights") for line in compared["one more random number"][0])


def test_a_snapshot_says_what_the_network_was_after_its_epoch(tmp_path: Path) -> None:
    """Oracle: validation by Lightning itself, and the filters of its own weights."""
    seen = list[Snapshot]()
    probe = ProbeCallback(network="net", samples=None, on_snapshot=[seen.append], units=["conv2:3"])
    left = trained(digits_net, tmp_path, [probe])
    assert [one.epoch for one in seen] == [0, 1, 2]
    assert set(seen[-1].splits) == {"train", "held out"}
    assert seen[-1].splits["train"].images == 320
    assert seen[-1].splits["held out"].loss == pytest.approx(float(left["metrics"]["validation"]), rel=1e-5)
    np.testing.assert_array_equal(seen[-1].filters, left["weights"]["net.conv1.weight"].numpy())
    assert list(seen[-1].maps) == ["conv2:3"]
    assert seen[-1].embedding is not None


def test_the_module_itself_its_names_and_every_second_epoch(tmp_path: Path) -> None:
    probe = ProbeCallback(["net.conv1", "net.dense2"], every=2, samples=20)
    trained(digits_net, tmp_path, [probe], epochs=3)
    assert [one.epoch for one in probe.probe.snapshots] == [0, 2]
    assert [layer.name for layer in probe.probe.snapshots[0].layers] == ["net.conv1", "net.dense2"]


def test_data_of_the_user_s_own_is_looked_at(tmp_path: Path) -> None:
    images, labels = digits(held_out=True).tensors
    probe = ProbeCallback(network="net", data={"mine": (images[:30], labels[:30])})
    trained(digits_net, tmp_path, [probe], epochs=1)
    assert {name: split.images for name, split in probe.probe.snapshots[1].splits.items()} == {"mine": 30}


def test_a_fast_dev_run_leaves_no_folder(tmp_path: Path) -> None:
    probe = ProbeCallback(out=tmp_path / "net.run", network="net", samples=20)
    with kept_random_states():
        module = Validated(digits_net())
        loaders = [DataLoader(digits(held_out=part), batch_size=32) for part in (False, True)]
        Trainer(fast_dev_run=True, callbacks=[probe], **QUIET).fit(module, *loaders)
    assert [one.epoch for one in probe.probe.snapshots] == [0, 1]
    assert not (tmp_path / "net.run").exists()


def test_a_run_that_is_there_is_refused_before_training(tmp_path: Path) -> None:
    again = [ProbeCallback(out=tmp_path / "net.run", network="net", samples=20) for _ in range(2)]
    trained(digits_net, tmp_path / "first", [again[0]], epochs=1)
    with pytest.raises(ConvscopeError, match=r"net\.run"):
        trained(digits_net, tmp_path / "second", [again[1]], epochs=1)
    assert not (tmp_path / "second").exists()


def test_no_such_network_in_the_module(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"no network 'nets' in Validated; did you mean 'net'\? \(it has net\)"):
        trained(digits_net, tmp_path, [ProbeCallback(network="nets")])


def test_without_lightning_the_way_to_install_it_is_said(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)  # as if it were not there
    with pytest.raises(ConvscopeError, match=r"pip install 'convscope\[lightning\]'"):
        runpy.run_path(sys.modules[ProbeCallback.__module__].__file__)
