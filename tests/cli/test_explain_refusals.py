"""What ``convscope explain`` refuses: exit 2, one line that names given, possible and nearest, and no files."""

import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file


def refused(cli: Callable, folder: Path, *args: object) -> str:
    """The one line, without ``convscope: ``."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    result = cli("explain", *args, code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("convscope: ")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "convscope-out").exists()
    assert not (folder / "out").exists()
    return line.removeprefix("convscope: ")


# ---- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "resnet50"], "no model 'resnet50'; did you mean 'torchvision:resnet50'"),
        (["--model", "torchvision:resnet5"], "no classifier 'resnet5' in torchvision; did you mean 'resnet50'"),
        (["--model", "bundled:tiny5"], "no bundled model 'tiny5'; there is bundled:tiny50"),
        (["--model", "nowhere.py:make"], "no file nowhere.py"),
        (["--model", "no.such.module:make"], "no model 'no.such.module:make'"),
        (["--model", "timm:resnet181"], "no network 'resnet181' in timm; did you mean 'resnet18'"),
        (["--layer", "features.81"], "no layer 'features.81' in Tiny50; did you mean 'features.8"),
        (["--layer", "featuers"], "no layer 'featuers' in Tiny50; did you mean 'features'"),
        (["--method", "gradcam"], "no method 'gradcam'; did you mean 'grad-cam'"),
        (["--target", "lino"], "no class 'lino' among the network's 50; did you mean 'lion'"),
        (["--target", "50"], "no class 50 in bundled:tiny50: it has 50 (0 to 49)"),
        (["--target", "lion", "--target", "50"], "no class 50 in bundled:tiny50"),
        (["--target", "features.81:3"], "no layer 'features.81' in Tiny50"),
        (["--target", "features.18:256"], "unit 256 was asked for, but layer 'features.18' has 256 units"),
        (["--target", "features.18:1@9,0"], "position 9,0 was asked for, but layer 'features.18' has a map of 8 x 8"),
        (["--save", "tiff"], "--save 'tiff' is none of png, jpg, jpeg, webp, html, npz"),
        (["--save", ","], "--save says nothing to write"),
        (["--device", "cuba"], "no device 'cuba' here"),
        (["--score", "logits"], "--score 'logits' is neither logit nor probability"),
        (["--fill", "blakc"], "--fill 'blakc' is no colour, and none of mean, blur, noise"),
    ],
)
def test_names_that_do_not_exist(cli, tmp_path: Path, photos: Path, args: list[str], message: str) -> None:
    assert refused(cli, tmp_path, photos / "cat.jpg", *args).startswith(message)


def test_a_users_file_without_that_factory(cli, tmp_path: Path, photos: Path, net: str) -> None:
    line = refused(cli, tmp_path, photos / "cat.jpg", "--model", net.replace(":make", ":mak"))
    assert "no factory 'mak' in" in line
    assert "did you mean 'make'" in line


def test_an_ambiguous_class(cli, tmp_path: Path, photos: Path, net: str) -> None:
    line = refused(cli, tmp_path, photos / "cat.jpg", "--model", net, "--target", "crane")
    assert line == "class name 'crane' is shared by classes 2, 3; give one of these numbers"


# ---- sheets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--square", "20,50"], "stride 50 with a square of 20 px: take 1 to 20, or pixels go unseen"),
        (["--square", "75,15"], "an occluding square of 75 px does not fit an image 64 px high (1 to 64)"),
        (["--square", "0,0"], "an occluding square of 0 px does not fit"),
        (["--square", "20"], "--square '20': give SIZE,STRIDE in pixels, such as 50,10"),
        (["--square", "a,b"], "--square 'a,b': give SIZE,STRIDE"),
        (["--square", "20,10", "--method", "cam"], "--square belongs to occlusion, not to cam"),
        (["--square", "20,10", "--layer", "features.8"], "--layer changes nothing for occlusion"),
        (["--square", "20,10", "--matrix"], "--square and --matrix ask for different sheets"),
        (["-t", "lion", "-t", "tabby", "-l", "features.3,features.8"],
         "several --target and several --layer ask for different sheets"),
        (["--top-classes", "3", "--matrix"], "--matrix and --top-classes ask for different sheets"),
        (["-m", "bundled:tiny50", "-m", "bundled:tiny50", "--top-classes", "2"],
         "--model twice and --top-classes ask for different sheets"),
        (["--top-classes", "3", "-t", "lion"], "--top-classes and --target both say which classes"),
        (["--top-classes", "3", "--method", "cam,grad-cam"],
         "this sheet compares the maps of one method, but --method is cam, grad-cam"),
        (["--layer", "features.3,features.8", "--method", "all"],
         "this sheet compares the maps of one method, but --method is all"),
        (["--layer", "features.3,features.8", "--method", "saliency"], "--layer changes nothing for saliency"),
        (["--layer", "features.3", "--method", "gradient,saliency"], "--layer changes nothing for gradient, saliency"),
        (["--fill", "white", "--method", "cam"], "--fill changes nothing for cam; it is for occlusion"),
        (["--score", "logit", "--method", "deconvnet"], "--score changes nothing for deconvnet"),
        (["--partial", "--method", "cam"], "--partial changes nothing for cam; it is for guided-backprop"),
        (["--method", "deconvnet", "-t", "lion", "-l", "features.3"], "the deconvnet starts from a class or in a"),
        (["--weights", "a", "--weights", "b"], "2 --weights for 1 --model"),
    ],
)  # fmt: skip
def test_sheets_that_make_no_sense(cli, tmp_path: Path, photos: Path, args: list[str], message: str) -> None:
    assert refused(cli, tmp_path, photos / "cat.jpg", *args).startswith(message)


def test_one_colour_is_not_one_input_for_two_networks(cli, tmp_path: Path, photos: Path, net: str) -> None:
    models = ("--model", net, "--model", "bundled:tiny50", "--method", "occlusion", "--fill", "white")
    assert "not the same input for these networks" in refused(cli, tmp_path, photos / "cat.jpg", *models)


# ---- what a network cannot -----------------------------------------------------------------------------------


def test_cam_on_vgg16_names_grad_cam(cli, tmp_path: Path, photos: Path) -> None:
    """Three linear layers after its maps."""
    args = ("--model", "torchvision:vgg16", "--weights", "random", "--size", 64, "--method", "cam")
    line = refused(cli, tmp_path, photos / "cat.jpg", *args)
    assert line.startswith("CAM needs a head that takes the mean over the map of 'features.29'")
    assert "Grad-CAM explains any head" in line


@pytest.mark.parametrize("method", ["guided-backprop", "guided-saliency", "deconvnet", "guided-grad-cam"])
def test_backward_rules_on_a_graph_they_cannot_see_into(cli, tmp_path, photos: Path, net: str, method: str) -> None:
    args = ("--model", net.replace(":make", ":opaque"), "--method", method)
    assert refused(cli, tmp_path, photos, *args).startswith("cannot see inside 1 x Hidden in the recorded graph")


def test_an_input_too_small_for_a_layer(cli, tmp_path: Path, photos: Path) -> None:
    args = ("--model", "torchvision:alexnet", "--weights", "random", "--size", 8)
    line = refused(cli, tmp_path, photos, *args)
    assert line.startswith("torchvision:alexnet (random weights) cannot take an input of 3 x 8 x 8: ")


def test_a_layer_without_maps(cli, tmp_path: Path, photos: Path) -> None:
    args = ("--method", "grad-cam", "--layer", "classifier")
    assert refused(cli, tmp_path, photos / "cat.jpg", *args) == (
        "layer 'classifier' gives (1, 50), not maps (b, c, h, w)"
    )


# ---- weights -------------------------------------------------------------------------------------------------


@pytest.fixture
def weights(net: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are no weights of the small network, each for another reason."""
    folder = tmp_path_factory.mktemp("weights")
    fitting = {"0.weight": torch.zeros(6, 3, 3, 3), "0.bias": torch.zeros(6), "2.weight": torch.zeros(8, 6, 3, 3)}
    fitting |= {"2.bias": torch.zeros(8), "6.weight": torch.zeros(4, 8)}
    save_file(fitting, folder / "fitting.safetensors")
    save_file({k: v for k, v in fitting.items() if k != "2.bias"}, folder / "missing.safetensors")
    save_file(fitting | {"6.weight": torch.zeros(7, 8)}, folder / "seven.safetensors")
    save_file(fitting | {"9.weight": torch.zeros(7, 8)}, folder / "surplus.safetensors")
    torch.save({"state_dict": fitting, "anything": ValueError("code")}, folder / "pickled.pt")
    (folder / "pickle.pt").write_bytes(pickle.dumps(ValueError))
    for name in ("text.safetensors", "text.pt"):
        (folder / name).write_text("I am text")
    (folder / "three.txt").write_text("a\nb\nc\n")
    return folder


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("none.safetensors", "no weights file at"),
        ("missing.safetensors", "missing: 2.bias"),
        ("surplus.safetensors", "not in the network: 9.weight"),
        ("seven.safetensors", "7"),
        ("pickled.pt", "--trust-pickle"),
        ("pickle.pt", ""),
        ("text.safetensors", "is no readable safetensors file"),
        ("text.pt", "is no readable checkpoint"),
    ],
)
def test_weights_that_do_not_fit(cli, tmp_path, photos: Path, net: str, weights: Path, file: str, message: str) -> None:
    line = refused(cli, tmp_path, photos / "cat.jpg", "--model", net, "--weights", weights / file)
    assert str(weights / file) in line
    assert message in line


def test_the_fitting_ones_are_taken(cli, photos: Path, net: str, weights: Path) -> None:
    """So that the refusals above are for their reasons."""
    cli("predict", photos / "cat.jpg", "--model", net, "--weights", weights / "fitting.safetensors")


def test_class_names_that_are_not_as_many_as_the_outputs(cli, tmp_path, photos: Path, net: str, weights: Path) -> None:
    line = refused(cli, tmp_path, photos / "cat.jpg", "--model", net, "--classes", weights / "three.txt")
    assert "3 class names" in line


# ---- pictures ------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG whose header says 60,000 x 60,000 pixels."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("truncated.png", None, "cannot be read"),
        ("empty.jpg", b"", "is empty (0 bytes)"),
        ("text.jpg", b"I am text, in truth", "is not a picture"),
        ("bomb.png", bomb(), "megapixels: not decoded"),
    ],
)
def test_pictures_that_are_none(cli, tmp_path, photos: Path, name: str, content: bytes | None, message: str) -> None:
    (tmp_path / "in").mkdir()
    picture = tmp_path / "in" / name
    picture.write_bytes((photos / "coffee.png").read_bytes()[:2000] if content is None else content)
    for given in (picture, picture.parent):
        line = refused(cli, tmp_path, given, "--method", "cam")
        assert name in line
        assert message in line


def test_a_folder_without_pictures_and_a_path_that_is_not_there(cli, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    assert refused(cli, tmp_path, tmp_path / "in").startswith(f"no picture in the folder {tmp_path / 'in'}")
    line = refused(cli, tmp_path, photos / "cta.jpg")
    assert "; did you mean 'cat.jpg'" in line
    assert refused(cli, tmp_path).startswith("give a picture or a folder of pictures, or --demo")
    assert refused(cli, tmp_path, photos, "--demo").startswith("--demo takes scikit-image's photos; leave out")


# ---- where to --------------------------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_to(cli, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for out in ("taken", "taken/below", "taken/a/b"):
        line = refused(cli, tmp_path, photos / "cat.jpg", "--out", out)
        assert line.startswith(f"cannot write into {out}: ")
        assert "a file, not a folder" in line


def test_everything_is_refused_before_the_first_map_is_made(cli, tmp_path: Path, photos: Path, monkeypatch) -> None:
    """A wrong --out or --save must not cost a minute's work first."""
    monkeypatch.setattr("convscope.cli.options.network", lambda *_: pytest.fail("the network was loaded"))
    (tmp_path / "taken").write_text("a file")
    for args in (("--out", "taken"), ("--save", "tiff"), ("--demo",)):
        refused(cli, tmp_path, photos / "cat.jpg", *args)
    refused(cli, tmp_path, photos / "none.jpg")
