"""``convscope methods`` against the table that it prints."""

import json

import pytest

from convscope.attribution import METHODS


def test_every_method_is_listed_with_its_claim(cli) -> None:
    lines = cli("methods").stdout.splitlines()
    for name, method in METHODS.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert method.claim in line
        assert ("yes" in line.split()[:2]) == method.needs_layer
        assert ("hundreds" in line.split()[:3]) == method.slow


@pytest.mark.parametrize("name", METHODS)
def test_one_method_is_told_whole(cli, name: str) -> None:
    told, method = cli("methods", name).stdout, METHODS[name]
    for text in (method.claim, method.limits, method.source, method.zero):
        assert text in told
    assert ("--option relu=True" in told) == ("relu" in method.defaults)
    assert "generator" not in told


def test_as_json(cli) -> None:
    found = json.loads(cli("methods", "--json").stdout)
    assert [one["name"] for one in found] == list(METHODS)
    (one,) = json.loads(cli("methods", "grad_cam", "--json").stdout)
    assert one["options"] == {"relu": True, "score": "logit"}
    assert one["needs_layer"] is True


def test_a_method_that_is_none_is_refused(cli) -> None:
    assert "did you mean 'grad-cam'" in cli("methods", "grad-camm", code=2).stderr
