"""``--option NAME=VALUE`` against the methods' own signatures."""

from typing import Any

import pytest

from convscope.attribution import METHODS
from convscope.cli.method_options import method_options, options_of
from convscope.errors import ConvscopeError


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("relu=false", "relu", False),
        ("relu = TRUE", "relu", True),
        ("reading=drop", "reading", "drop"),
        ("size=8", "size", 8),
        ("size=8,4", "size", (8, 4)),
        ("reduce=sum", "reduce", "sum"),
        ("cells=3,4", "cells", (3, 4)),
        ("noise=1", "noise", 1.0),
    ],
)
def test_a_value_becomes_what_the_option_takes(text: str, name: str, value: Any) -> None:
    found = options_of([text])
    assert found == {name: value}
    assert type(found[name]) is type(value)


def test_what_was_not_given_is_left_to_the_method() -> None:
    assert options_of(None, score=None, partial=False, batch=8) == {"batch": 8}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["relu"], r"--option 'relu': give NAME=VALUE"),
        (["rleu=true"], r"no method has an option 'rleu'; did you mean 'relu'.*\(all: .*relu"),
        (["relu=7"], r"option relu=7: it takes true or false, such as True"),
        (["reading=7"], r"option reading=7: it takes a word, such as pixels"),
        (["layer=features.1"], r"no method has an option 'layer'; it is --layer here"),
        (["score=logit", "score=probability"], r"option score was given twice"),
        (["score=logits"], r"'logits' is neither logit nor probability"),
    ],
)
def test_what_no_method_takes_is_refused(given: list[str], says: str) -> None:
    with pytest.raises(ConvscopeError, match=says):
        options_of(given)


def test_an_option_may_be_given_in_one_way_only() -> None:
    with pytest.raises(ConvscopeError, match="option score was given twice"):
        options_of(["score=logit"], score="probability")


def test_every_option_of_every_method_can_be_given() -> None:
    """Oracle: the signatures; the rest has an option of its own, or belongs to Python."""
    named = {"target", "layer", "batch", "generator", "wrt", "on_step", "engine", "fill"}
    assert set(method_options()) == {name for method in METHODS.values() for name in method.defaults} - named
