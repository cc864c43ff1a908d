"""``convscope train --base``. Oracles: the bundled network's own weights, and one network that two commands made."""

import json
from pathlib import Path

import pytest
import torch

import convscope as cs
from convscope.attribution import cam
from convscope.cli.train_head import base_network
from convscope.store.run_folder import CHECKPOINT, REPORT, WEIGHTS, training_of
from tests.cli.struck_training import struck
from tests.training.folders import CLASSES, colour_folders

BASE = ("--base", "bundled:tiny50", "--layer", "features.3", "--epochs", 4, "--no-report", "--out", "head.run")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Path:
    return colour_folders(tmp_path / "colours")


def test_a_new_head_is_a_model_with_the_bases_weights(cli) -> None:
    """Oracle: the base's weights, to the last bit; CAM's mean and the bias are the logit, of a mean head only."""
    stdout = cli("train", "colours", *BASE).stdout
    head = sum(p.numel() for p in cs.load("head.run").module.head.parameters())
    assert f"\n{head:,} of " in stdout
    assert " parameters learn, the rest is frozen" in stdout
    assert not Path("head.run/features").exists()
    net, base = cs.load("head.run"), cs.load("bundled:tiny50")
    assert net.classes == CLASSES
    assert net.preprocess == base.preprocess
    mine, its = net.module.state_dict(), base.module.state_dict()
    assert all(torch.equal(values, its[name[5:]]) for name, values in mine.items() if name.startswith("base."))
    assert "base.features.3  ReLU" in cli("layers", "--model", "head.run").stdout
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    bias = net.module.get_submodule("head.linear").bias
    torch.testing.assert_close(cam(net.module, x, target=1).mean((1, 2)) + bias[1], net.module(x)[:, 1])
    asked = ("explain", "--demo", "--model", "head.run", "--method", "grad-cam", "--json", "--out", "maps")
    assert json.loads(cli(*asked).stdout)
    assert list(Path("maps").glob("*.png"))


@pytest.mark.parametrize(("where", "left"), [("part", "parts/00000.safetensors"), ("report", "*.safetensors")])
def test_killed_and_gone_on_with_it_computes_no_feature_twice_and_ends_as_unbroken(cli, where: str, left: str) -> None:
    """Oracle: an unbroken run's files; a second run that would be killed too if it computed both sides again."""
    has_report = where == "report"
    asked = (
        "train", "colours", "--base", "bundled:tiny50", "--layer", "features.3", "--head", "mlp", "--epochs", 2,
        "--report" if has_report else "--no-report",
    )  # fmt: skip
    result = struck("SIGKILL", where, 2 if where == "part" else 1, *asked, "--out", "head.run")
    assert result.returncode == -9, result.stderr
    assert len(list(Path("head.run/features").glob(left))) == 1
    again = struck("SIGKILL", "part", 2, *asked, "--out", "head.run", "--resume")  # one part is left to do, or none
    assert again.returncode == 0, again.stderr
    cli(*asked, "--out", "whole.run")
    for name in (CHECKPOINT, WEIGHTS):
        assert Path("head.run", name).read_bytes() == Path("whole.run", name).read_bytes()
    assert training_of(Path("head.run")).is_finished
    assert Path("head.run", REPORT, "index.html").is_file() == has_report
    assert not Path("head.run/features").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--head", "mlp"), "--head is of a head on a frozen network: say which with --base MODEL"),
        (("--base-weights", "random"), "--base-weights is of a head"),
        (("--base", "bundled:tiny50", "--layer", "features.99"), "no layer 'features.99'"),
        (("--base", "bundled:tiny50", "--head", "meen"), "did you mean 'mean'"),
        (("--base", "bundled:tiny50", "--augment", "shifts"), "sees each image once"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(cli, options: tuple[str, ...], said: str) -> None:
    """Oracle: the words, the exit code and the folder."""
    result = cli("train", "colours", *options, "--out", "no.run", code=2)
    assert said in " ".join(result.stderr.split())
    assert not Path("no.run").exists()


@pytest.mark.global_rng
def test_a_random_base_is_the_same_every_time() -> None:
    """Oracle: the fingerprint: features that a killed run left are found again; no global number is drawn."""
    before = torch.get_rng_state()
    first, second = (base_network("bundled:tiny50", "random", None, None).fingerprint for _ in range(2))
    assert first == second != base_network("bundled:tiny50", None, None, None).fingerprint
    assert torch.equal(before, torch.get_rng_state())
