"""Options that several commands share."""

from pathlib import Path

import pytest

from convscope.cli import options
from convscope.errors import ConvscopeError


def test_lists_may_be_repeated_or_parted_by_commas() -> None:
    assert options.listed(["a, b", "c", "a", ","]) == ["a", "b", "c"]
    assert options.listed(None) == []


def test_an_option_with_nothing_in_it_is_not_its_default() -> None:
    for nothing in ([""], [" , "], ["", ","]):
        with pytest.raises(ConvscopeError, match=r"--layers '.*' names nothing; leave it out for the default"):
            options.listed(nothing, "--layers")
    assert options.listed(None, "--layers") == options.listed([], "--layers") == []
    assert options.listed(["", "a"], "--layers") == ["a"]


def test_numbers_are_parted_by_commas() -> None:
    assert options.numbers("0.5, 1,2e-1", "--mean") == [0.5, 1.0, 0.2]
    assert options.numbers(None, "--mean") is None
    with pytest.raises(ConvscopeError, match=r"--std '0\.5;1': give numbers with commas"):
        options.numbers("0.5;1", "--std")


def test_weights_of_torchvision_are_not_downloaded_where_they_do_not_matter() -> None:
    assert options.or_random("torchvision:resnet50", None) == "random"
    assert options.or_random("torchvision:resnet50", "file.pt") == "file.pt"
    assert options.or_random("net.py:make", None) is None  # its own weights stay
    assert options.or_random(None, None) is None


@pytest.mark.global_rng
def test_the_network_that_the_options_describe(net: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    found = options.network(net, None, tmp_path / "names.txt", 20, "0,0,0", "1,1,1", False, "cpu")
    assert found.classes == ("a", "b", "c", "d")
    preprocess = found.preprocess
    assert (preprocess.size, preprocess.mean, preprocess.std) == (20, (0, 0, 0), (1, 1, 1))
    assert capsys.readouterr() == ("", "")


@pytest.mark.global_rng
def test_what_had_to_be_assumed_is_said_on_stderr(tmp_path: Path, capsys) -> None:
    (tmp_path / "bare.py").write_text("from torch import nn\ndef make(): return nn.Conv2d(3, 2, 1)\n")
    options.network(f"{tmp_path}/bare.py:make", None, None, None, None, None, False, "cpu")
    out, err = capsys.readouterr()
    assert out == ""
    assert "note: no mean and std known" in err
    assert "note: no input size known" in err
