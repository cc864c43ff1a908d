"""``convscope embed``. The layouts are proved in ``tests/dataset``; here the command asks for the right ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convscope as cs
from convscope.atlases.embeddings import embed_data
from convscope.dataset import photo_batches
from convscope.dataset.photo_batches import layer_maps
from tests.atlases.surveyed import photo_folder
from tests.cli.test_explain_refusals import refused

OWN_SIZE = """
import torch
from torch import nn

MEAN = STD = (0.5, 0.5, 0.5)  # and no SIZE: photos keep their own


def make():
    torch.manual_seed(0)
    net = nn.Sequential()
    net.conv, net.relu = nn.Conv2d(3, 4, 5), nn.ReLU()
    with torch.no_grad():
        net.conv.bias[3] = float("nan")
    net.pool, net.flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return net
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("embedded") / "photos", 12)


@pytest.fixture(scope="module")
def atlas(data: Path, net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("atlases") / "a.atlas"
    with torch.random.fork_rng(devices=[]):
        cs.survey(cs.load(net), data, out, ["0", "2"], labels="groups", pictures=False).close()
    return out


def test_photos_are_laid_out_and_drawn_by_one_pass(cli, data: Path, net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args = ("--model", net, "--layer", "0,3", "--method", "pca", "--labels", "groups", "--json", "--save", "npz,png")
    passes: list[int] = []

    def counted(net, photos, layers):
        passes.append(len(photos.names))
        return layer_maps(net, photos, layers)

    with monkeypatch.context() as patched:
        patched.setattr(photo_batches, "layer_maps", counted)
        found = json.loads(cli("embed", data, *args, "--batch", 5).stdout)
    assert sum(passes) == 12
    assert max(passes) == 5
    with torch.random.fork_rng(devices=[]):
        network = cs.load(net)
    for entry, layer in zip(found, ("0", "3"), strict=True):
        expected = embed_data(network, data, layer, "pca", labels="groups")
        assert entry["files"] == [f"convscope-out/photos.net.py~make.{layer}.pca.{end}" for end in ("npz", "png")]
        assert [row["image"] for row in entry["points"]] == list(expected.images)
        assert {row["class"] for row in entry["points"]} == set(expected.named)
        with np.load(entry["files"][0]) as arrays:
            np.testing.assert_allclose(arrays["points"], expected.points, atol=1e-6)
        with Image.open(entry["files"][1]) as sheet:
            assert sheet.width > 2000


def test_an_atlas_has_its_features_and_classes(cli, atlas: Path) -> None:
    result = cli("embed", atlas, "--method", "t-sne", "--perplexity", 3, "--seed", 5, "--no-thumbnails")
    lines = result.stdout.splitlines()
    assert lines[-1] == "convscope-out/a.atlas.2.t-sne.perplexity-3.seed-5.png"
    assert lines[1].split()[0] == "2"
    assert lines[1].split()[-4:-2] == ["12", "3"]
    assert result.stderr == ""
    again = json.loads(cli("embed", atlas, "--perplexity", 3, "--seed", 5, "--save", "npz", "--json").stdout)
    assert again[0]["perplexity"] == "3"


def test_photos_that_the_network_does_not_take_are_named_and_the_exit_code_says_so(cli, tmp_path: Path) -> None:
    photos = photo_folder(tmp_path / "photos", 12)
    Image.new("RGB", (3, 9)).save(photos / "tabby" / "zz.png")
    (tmp_path / "net.py").write_text(OWN_SIZE)
    args = ("--model", "net.py:make", "--layer", "conv", "--method", "pca", "--labels", "groups", "--save", "npz")
    result = cli("embed", photos, *args, "--json", code=1)
    assert result.stderr.splitlines()[1:] == [
        "note: left out, NaN or infinite all over its map on most images: conv:3",
        f"skipped tabby/zz.png: {json.loads(result.stdout)[0]['left_out']['tabby/zz.png']}",
    ]
    assert "cannot take an input of 3 x 9 x 3: " in result.stderr
    assert len(json.loads(result.stdout)[0]["points"]) == 12


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--method", "tsne"], "--method 'tsne' is none of pca, t-sne, umap; did you mean 't-sne'"),
        (["--method", "pca", "--perplexity", "3"], "--perplexity is of t-sne, not of pca"),
        (["--neighbours", "3"], "--neighbours is of umap, not of t-sne"),
        (["--method", "pca", "--seed", "3"], "--seed changes nothing of pca"),
        (["--perplexity", "5", "--labels", "groups"], "of 12 images it is at least 1 and at most 3"),
        (["--layer", "9"], "no layer '9'"),
        (["--data", "x"], "is no atlas: it is the data itself: leave out --data"),
        (["--labels", "folders"], "are no class of the network"),
    ],
)
def test_refusals_leave_no_files(cli, tmp_path: Path, data: Path, net: str, args: list[str], message: str) -> None:
    line = refused(lambda _, *rest, code: cli("embed", *rest, code=code), tmp_path, data, "--model", net, *args)
    assert message in line


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "x"], "is an atlas, which has its features and classes already: leave out --model"),
        (["--labels", "none"], "leave out --labels"),
        (["--batch", "8"], "leave out --batch"),
        (["--device", "cpu"], "leave out --device"),
        (["--trust-pickle"], "leave out --trust-pickle"),
        (["--data", "x", "--no-thumbnails"], "--no-thumbnails looks at no photo: leave out --data"),
        (["--layer", "2,7"], "no layer '7'"),
    ],
)
def test_what_an_atlas_has_already_is_refused(cli, tmp_path: Path, atlas: Path, args: list[str], message: str) -> None:
    line = refused(lambda _, *rest, code: cli("embed", *rest, code=code), tmp_path, atlas, *args)
    assert message in line
