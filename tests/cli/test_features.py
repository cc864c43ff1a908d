"""``convscope features``. The maps are proved in ``tests/views``; here the command asks for the right ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import convscope as cs
from convscope.network.layers import run_model
from convscope.views import unit_overlays, unit_projections
from tests.cli.test_explain_refusals import refused


@pytest.fixture(scope="module")
def small(net: str) -> cs.Network:
    with torch.random.fork_rng(devices=[]):
        return cs.load(net)


def written() -> list[str]:
    return sorted(p.name for p in Path("convscope-out").iterdir())


def saved(name: str) -> dict[str, np.ndarray]:
    with np.load(Path("convscope-out") / name) as archive:
        return dict(archive)


def test_the_default_is_the_last_map_of_the_bundled_network_really_drawn(cli, photos: Path) -> None:
    result = cli("features", photos / "cat.jpg")
    assert written() == ["cat.features.18.maps.png"]
    assert result.stdout == "convscope-out/cat.features.18.maps.png\n"
    assert result.stderr == ""


def test_several_layers_and_units_are_a_figure_each(cli, photos: Path, net: str, small: cs.Network) -> None:
    args = ("--model", net, "--layer", "0,3", "--units", "4,0-1", "--save", "npz", "--json")
    entries = json.loads(cli("features", photos / "cat.jpg", *args).stdout)
    assert [e["layer"] for e in entries] == ["0", "3"]
    assert entries[0] == {
        "image": "cat.jpg", "files": ["convscope-out/cat.0.maps.units-4,0-1.npz"], "layer": "0", "units": [4, 0, 1],
        "of": 6, "shape": [3, 16, 16], "zero": entries[0]["zero"],
    }  # fmt: skip
    for layer in ("0", "3"):
        expected = cs.features(small, photos / "cat.jpg", layer, [4, 0, 1]).values.numpy()
        np.testing.assert_array_equal(saved(f"cat.{layer}.maps.units-4,0-1.npz")["values"], expected)


def test_sort_and_scale_are_in_the_name_and_do_not_write_over_the_others(cli, photos: Path, net: str) -> None:
    base = ("features", photos / "cat.jpg", "--model", net, "--layer", "2", "--save", "npz")
    cli(*base)
    cli(*base, "--sort", "max", "--own-scale")
    assert written() == ["cat.2.maps.max.own-scale.npz", "cat.2.maps.npz"]
    values = saved("cat.2.maps.max.own-scale.npz")["values"]
    assert (np.diff(values.max((1, 2))) <= 0).all()


@pytest.mark.parametrize(
    ("args", "name", "unit"), [((), "mean", None), (("--unit", 2), "unit-2", 2), (("--strongest",), "strongest", -1)]
)
def test_every_layer_is_one_figure(cli, photos: Path, net: str, small: cs.Network, args, name: str, unit) -> None:
    every = ("--every-layer", *args, "--save", "npz", "--json")
    (entry,) = json.loads(cli("features", photos / "cat.jpg", "--model", net, *every).stdout)
    assert entry["files"] == [f"convscope-out/cat.every-layer.{name}.npz"]
    assert [m["layer"] for m in entry["maps"]] == ["0", "1", "2", "3"]
    assert set(entry["left_out"]) == {"4", "5", "6"}
    maps = cs.features(small, photos / "cat.jpg", "2").values
    place = int(maps.amax((1, 2)).argmax()) if unit == -1 else unit
    expected = maps.mean(0) if unit is None else maps[place]
    np.testing.assert_allclose(saved(f"cat.every-layer.{name}.npz")["2"], expected.numpy(), atol=1e-6)
    assert entry["maps"][2]["unit"] == place


def test_overlay_names_the_classes(cli, photos: Path, net: str, small: cs.Network) -> None:
    args = ("--model", net, "--layer", "3", "--overlay", "--most", 2, "--save", "npz", "--json")
    (entry,) = json.loads(cli("features", photos / "cat.jpg", *args).stdout)
    assert entry["files"] == ["convscope-out/cat.3.overlay.most-2.npz"]
    expected = unit_overlays.units_on_photo(small, photos / "cat.jpg", "3", most=2)
    assert entry["units"] == list(expected.units)
    shown = [[(c["class"], pytest.approx(c["drop"])) for c in named] for named in entry["classes"]]
    assert shown == [list(named) for named in expected.classes]


def test_deconv_of_one_layer_and_of_every_layer_from_the_first_on(
    cli, photos: Path, net: str, small: cs.Network
) -> None:
    one = ("features", photos / "cat.jpg", "--model", net, "--deconv", "--save", "npz")
    cli(*one, "--layer", "2", "--units", "3")
    expected = unit_projections.units_projected(small, photos / "cat.jpg", "2", [3]).projections.numpy()
    np.testing.assert_array_equal(saved("cat.2.deconv.units-3.npz")["projections"], expected)
    every = cli(*one, "--every-layer", "--most", 2).stdout.split()
    assert every == [f"convscope-out/cat.{i}.deconv.most-2.npz" for i in range(4)]


def test_a_folder_has_a_figure_a_photo_and_skips_what_is_none(cli, photos: Path, net: str, workplace: Path) -> None:
    folder = workplace / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes((photos / "cat.jpg").read_bytes())
    (folder / "b.jpg").write_text("no picture")
    result = cli("features", folder, "--model", net, "--save", "npz", code=1)
    assert written() == ["a.3.maps.npz"]
    assert result.stderr.startswith("skipped b.jpg: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--layer", "featuers.3"], "no layer 'featuers.3' in Tiny50; did you mean 'features.3'"),
        (["--layer", "classifier"], "layer 'classifier' gives (1, 50), not maps"),
        (["--layer", "features.0,classifier"], "layer 'classifier' gives (1, 50), not maps"),
        (
            ["--layer", "features.0", "--units", "32"],
            "unit 32 was asked for, but layer 'features.0' has 32 units (0 to",
        ),
        (["--units", "a"], "--units 'a': give numbers from 0 up and ranges, such as 2,7,10-12"),
        (["--units", "9-3"], "--units '9-3': 9-3 runs backwards; give 3-9"),
        (["--sort", "size"], "sort='size' is none of max, mean"),
        (["--save", "tiff"], "--save 'tiff' is none of png"),
        (["--every-layer", "--unit", "9999"], "no layer of bundled:tiny50 has such a map"),
        (["--every-layer", "--layer", "features.0"], "--every-layer shows all layers: leave out --layer"),
        (["--every-layer", "--overlay"], "--overlay takes --layer"),
        (["--every-layer", "--units", "1"], "--every-layer takes one --unit"),
        (["--every-layer", "--own-scale"], "--every-layer: each map has its own scale"),
        (["--every-layer", "--strongest", "--unit", "1"], "--strongest and --unit choose two maps"),
        (["--unit", "1"], "--unit goes with --every-layer"),
        (["--strongest"], "--strongest goes with --every-layer"),
        (["--overlay", "--deconv"], "--overlay and --deconv are two views"),
        (["--most", "3"], "--most goes with --overlay or --deconv"),
        (["--overlay", "--most", "3", "--units", "1"], "--units names the units: leave out --most"),
        (["--partial"], "--partial goes with --deconv"),
        (["--sort", "max", "--overlay"], "--sort goes with the grid"),
    ],
)
def test_refusals_leave_no_files(cli, tmp_path: Path, photos: Path, args: list[str], message: str) -> None:
    line = refused(lambda command, *rest, code: cli("features", *rest, code=code), tmp_path, photos / "cat.jpg", *args)
    assert line.startswith(message)


def test_a_photo_that_is_none_and_a_network_that_cannot_be_seen_into(
    cli, tmp_path: Path, photos: Path, net: str
) -> None:
    def run(_command, *rest, code):
        return cli("features", *rest, code=code)

    (tmp_path / "cat.jpg").write_text("no picture")
    assert "cat.jpg" in refused(run, tmp_path, tmp_path / "cat.jpg")
    opaque = net.replace(":make", ":opaque")
    for view in (["--layer", "2"], ["--every-layer"]):
        line = refused(run, tmp_path, photos / "cat.jpg", "--model", opaque, "--deconv", *view)
        assert "Hidden" in line


def test_every_layer_runs_the_network_once(cli, photos: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory and time of a plain pass: all maps come from one."""
    from convscope.network import layers

    passes: list[object] = []

    def counted(model, x):
        passes.append(x)
        return run_model(model, x)

    monkeypatch.setattr(layers, "run_model", counted)
    cli("features", photos / "cat.jpg", "--model", net, "--every-layer", "--save", "npz")
    assert len(passes) == 1


def test_every_layers_deconvnet_pictures_name_what_is_left_out(cli, photos: Path, net: str, tmp_path: Path) -> None:
    """Below the ReLU of this network is a Hardswish: refused as a whole, and with --partial for that layer only."""
    file = tmp_path / "mixed.py"
    file.write_text(Path(net.removesuffix(":make")).read_text() + MIXED)
    args = ("features", photos / "cat.jpg", "--model", f"{file}:mixed", "--deconv", "--every-layer", "--save", "npz")
    assert "partial=True" in cli(*args, code=2).stderr
    assert not Path("convscope-out").exists()
    result = cli(*args, "--partial")
    assert [Path(line).name for line in result.stdout.split()] == ["cat.0.deconv.npz", "cat.3.deconv.npz"]
    assert [line.split(":")[1].split()[0] for line in result.stderr.splitlines() if "left out" in line] == ["1", "2"]


MIXED = """

def mixed():
    net = make()
    net[1] = nn.Hardswish()
    return net
"""
