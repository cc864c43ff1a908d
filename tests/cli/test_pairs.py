"""``--both A B``, repeated."""

import pytest

from convscope.cli.pairs import joined, pairs_of
from convscope.errors import ConvscopeError


def test_pairs_come_through_the_arguments_in_order_and_each_once() -> None:
    args = joined(["x", "--both", "a b", "c,d", "--steps", "3", "--both", "-1", "2", "--both", "a b", "c,d", "y"])
    assert [arg for arg in args if "\x1f" not in arg] == ["x", "--both", "--steps", "3", "--both", "--both", "y"]
    assert pairs_of([arg for arg in args if "\x1f" in arg], "--both") == [("a b", "c,d"), ("-1", "2")]
    assert pairs_of(None, "--both") == []


def test_what_follows_two_dashes_and_what_has_no_second_half_is_left_alone() -> None:
    assert joined(["--", "--both", "a", "b"]) == ["--", "--both", "a", "b"]
    assert joined(["--both", "a"]) == ["--both", "a"]
    assert joined(["--both"]) == ["--both"]


@pytest.mark.parametrize("args", [["--both", "a"], ["--both", "a", "--steps"]])
def test_half_a_pair_is_refused(args: list[str]) -> None:
    with pytest.raises(ConvscopeError, match="--both 'a': give two with a blank between them"):
        pairs_of([arg for arg in joined(args) if arg != "--both"], "--both")
