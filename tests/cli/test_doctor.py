"""``convscope doctor``."""

import importlib.metadata
import json

import pytest

from convscope.cli import doctor


def test_what_is_installed_and_what_is_found_of_the_bundled_model(cli) -> None:
    """Oracle: the packages' own metadata; the model is built so that every method applies."""
    found = json.loads(cli("doctor", "--json").stdout)
    assert found["model"] == "bundled:tiny50"
    assert found["installed"]["torch"] == importlib.metadata.version("torch")
    assert found["devices"]
    assert {finding["level"] for finding in found["findings"]} == {"good"}
    assert len(found["findings"]) == 4


def test_a_model_that_some_methods_refuse_is_exit_1(cli, net: str) -> None:
    result = cli("doctor", "--model", net.replace(":make", ":opaque"), code=1)
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok") and "Grad-CAM" in line for line in lines)
    assert any(line.startswith("no") and "1 x Hidden" in line for line in lines)
    assert result.stderr == ""


def test_one_line_a_finding_where_no_terminal_is(cli, net: str) -> None:
    out = cli("doctor", "--model", net).stdout
    assert "ok  2 rectifiers and no other activation: guided backprop and deconvnet apply" in out


def test_torchvisions_networks_need_no_download(cli) -> None:
    out = cli("doctor", "--model", "torchvision:mobilenet_v3_small", "--size", 64, code=1).stdout
    assert "torchvision:mobilenet_v3_small (random weights)" in out
    assert "Hardswish" in out
    assert "--partial" in out


def test_an_unknown_model_is_refused(cli) -> None:
    assert "no file" in cli("doctor", "--model", "none.py:make", code=2).stderr


def test_a_broken_installation_is_what_doctor_is_for(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled weights are gone, and a package too: both are said, nothing crashes."""
    from convscope.errors import ConvscopeError

    def broken(*_: object) -> None:
        raise ConvscopeError("no weights in the box")

    monkeypatch.setattr(doctor.opt, "network", broken)
    monkeypatch.setattr(doctor, "_PACKAGES", ("torch", "no-such-package"))
    found = json.loads(cli("doctor", "--json", code=1).stdout)
    assert found["installed"]["no-such-package"] == "missing"
    assert found["findings"] == [{"level": "bad", "text": "no weights in the box"}]
