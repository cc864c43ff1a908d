"""The digits: what the script claims, counted on the held-out quarter and on the pictures that it makes."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import convscope as cs
from tests.examples.conftest import script

dig = script("digits")


def test_held_out_digits_are_read(digits_reader: nn.Module) -> None:
    """The data set's own labels, of a quarter that was not learnt."""
    (_, learnt), (images, labels) = dig.read_digits()
    assert (len(learnt), len(labels)) == (1348, 449)
    assert dig.accuracy(digits_reader, images, labels) >= 0.97


def test_what_is_held_out_is_not_learnt() -> None:
    (learnt, _), (held_out, _) = dig.read_digits()
    assert torch.cdist(learnt.flatten(1), held_out.flatten(1)).min() > 0.1


def test_harm_stays_within_epsilon_and_raises_the_loss(digits_reader: nn.Module) -> None:
    _, (images, labels) = dig.read_digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hurt = dig.hurt(digits_reader, images, labels, 0.2)
    assert float((hurt - images).abs().max()) <= 0.2 + 1e-6
    assert 0 <= float(hurt.min()) <= float(hurt.max()) <= 1
    assert dig.accuracy(digits_reader, hurt, labels) < dig.accuracy(digits_reader, images, labels)


@pytest.mark.global_rng  # the factory in a user's file draws first weights
def test_the_command_line_finds_all_that_it_needs_in_the_file(digits_reader: nn.Module, tmp_path: Path) -> None:
    """Loaded by name with its weights, it gives the logits of the live model, for a photo of a digit too."""
    from safetensors.torch import save_file

    save_file(digits_reader.state_dict(), tmp_path / "digits.safetensors")
    net = cs.load(f"{dig.__file__}:network", tmp_path / "digits.safetensors")
    assert net.classes == tuple("0123456789")
    _, (images, _) = dig.read_digits()
    photo = Image.fromarray((255 * images[0, 0]).round().byte().numpy())
    with torch.no_grad():
        expected = dig.logits(digits_reader, images[:1])
        torch.testing.assert_close(net.module(net.input_of(photo)), expected, rtol=0, atol=0.05)


def test_the_total_variation_goes_from_grain_to_emptiness(digits_reader: nn.Module) -> None:
    """Its own measure: the heavier, the less of it is left, while the digits stay what they are in the middle."""
    made = dig.swept(dig.loaded(digits_reader), (0.125, 4, 64))
    variation = [float(sum(v.diff(dim=d).abs().mean() for d in (2, 3))) for v in (c.values for c in made.columns)]
    assert variation[0] > 1.3 * variation[1] > 2.6 * variation[2]
    assert float(made.columns[1].probabilities[:, 0].min()) > 0.9


def test_shapes_that_are_alike_merge_and_others_do_not(digits_reader: nn.Module) -> None:
    """Of 0 & 1 one wins, whatever the start; of the pairs that are alike both get something out of it, on average."""
    net = dig.loaded(digits_reader)
    lesser = dig.lesser_shares([dig.pairs(net, seed=seed) for seed in range(2)])
    assert max(lesser["0", "1"]) < 0.2
    for pair in (("4", "9"), ("7", "8")):
        assert sum(lesser[pair]) / 2 > sum(lesser["0", "1"]) / 2 + 0.1


@pytest.mark.global_rng
def test_the_same_digits_give_the_same_network() -> None:
    """Bit for bit, whatever torch's random state was."""
    learnt, _ = dig.read_digits()
    first = dig.train(*learnt, steps=2)
    torch.rand(7)
    second = dig.train(*learnt, steps=2)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_the_script_says_what_it_found(
    digits_reader: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Run as a user does, less the training and most of the steps; its weights and sheets can be opened."""
    swept, pairs = dig.swept, dig.pairs
    monkeypatch.setattr(dig, "train", lambda *_: digits_reader)
    monkeypatch.setattr(dig, "STARTS", 2)
    monkeypatch.setattr(dig, "swept", lambda net: swept(net, (1, 4), steps=4))
    monkeypatch.setattr(dig, "pairs", lambda net, seed: pairs(net, steps=4, seed=seed))
    monkeypatch.setattr(sys, "argv", ["digits.py", "--out", str(tmp_path / "new")])
    dig.main()
    said = capsys.readouterr().out
    assert "of 449 held-out digits are right" in said
    for a, b in dig.PAIRS:
        assert f"{a} & {b} at once: of its logit alone" in said
    for name in ("digits_tv.png", "digits_pairs.png"):
        with Image.open(tmp_path / "new" / name) as sheet:
            assert len(sheet.convert("RGB").getcolors(1 << 24)) > 100
    assert (tmp_path / "new" / "digits.safetensors").stat().st_size > 10_000
