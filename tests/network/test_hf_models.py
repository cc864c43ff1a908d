"""Hugging Face's classifiers from folders of ``save_pretrained``. Oracles: the library's own model and processor."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convscope.attribution import grad_cam
from convscope.errors import ConvscopeError
from convscope.network.foreign_transforms import ForeignTransform
from convscope.network.head import default_layer
from convscope.network.hf_models import from_processor, labels
from convscope.network.loading import load
from convscope.network.pictures import read_image
from convscope.network.preprocessing import Preprocess
from tests import nets

transformers = pytest.importorskip("transformers", reason="needs the extra: pip install 'convscope[hf]'")
pytestmark = pytest.mark.global_rng  # building draws initial weights

NOISE = [
    Image.fromarray(np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8))
    for i, size in enumerate([(50, 71), (300, 241), (64, 64), (97, 333)])
]
NAMED: dict[str, Any] = {"id2label": {0: "cat", 1: "dog", 2: "a bird"}, "label2id": {"cat": 0, "dog": 1, "a bird": 2}}
TOKENS: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32,
    "patch_size": 8,
}  # fmt: skip
STAGES: dict[str, Any] = {"hidden_sizes": [8, 16], "depths": [1, 1]}
KINDS: dict[str, tuple[dict[str, Any], str, int]] = {
    "ViT": (TOKENS, "vit.layers.1.layernorm_before", 4),
    "Dinov2": (TOKENS, "dinov2.layernorm", 4),
    "Swin": (
        {"image_size": 32, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4},
        "swin.layernorm",
        8,
    ),
    "ResNet": (STAGES | {"embedding_size": 8, "layer_type": "basic"}, "resnet.encoder.stages.1", 4),
    "ConvNext": (STAGES | {"num_stages": 2}, "convnext.encoder.stages.1", 4),
}


def _processor(kind: str, **settings: Any) -> Any:
    modules = {
        "ViT": "vit.image_processing_pil_vit",
        "ConvNext": "convnext.image_processing_pil_convnext",
        "Bit": "bit.image_processing_pil_bit",
    }
    module = __import__(f"transformers.models.{modules[kind]}", fromlist=["x"])
    return getattr(module, f"{kind}ImageProcessorPil")(**settings)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., nn.Module]:
    """A tiny network of a kind in ``tmp_path``, with its processor; returned in evaluation mode."""

    def write(kind: str, named: bool = True, processor: Any = None, model: str = "ForImageClassification") -> nn.Module:
        settings = KINDS[kind][0] | (NAMED if named else {"num_labels": 3})
        config = getattr(transformers, f"{kind}Config")(**settings)
        module = getattr(transformers, f"{kind}{model}")(config).eval()
        transformers.logging.disable_progress_bar()
        module.save_pretrained(tmp_path)
        if processor is not None:
            processor.save_pretrained(tmp_path)
        transformers.logging.enable_progress_bar()
        return module

    return write


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_brings_model_labels_and_processor(kind: str, save: Callable[..., nn.Module], tmp_path: Path) -> None:
    """Logits as the library's own; ModelOutput read; Grad-CAM at the layer that was told by hand, on its grid."""
    saved = save(kind, processor=_processor("ViT", size={"height": 32, "width": 32}))
    net = load(f"hf:{tmp_path}", device="cpu")
    _, layer, side = KINDS[kind]
    x = net.input_of(NOISE[0])
    assert not net.module.training
    assert net.classes == ("cat", "dog", "a bird")
    assert net.preprocess == Preprocess((32, 32), None, (0.5,) * 3, (0.5,) * 3)
    assert torch.equal(net.module(x).logits, saved(x).logits)
    assert default_layer(net.module, x) == layer
    heat = grad_cam(net.module, x, target=1, relu=False)
    assert heat.shape == (1, side, side)
    assert heat.any()


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("ViT", {"size": {"height": 32, "width": 48}}, Preprocess((32, 48), None, (0.5,) * 3, (0.5,) * 3)),
        (
            "ConvNext",
            {"size": {"shortest_edge": 32}, "crop_pct": 0.875, "image_mean": [0.1, 0.2, 0.3]},
            Preprocess(36, 32, (0.1, 0.2, 0.3), (0.5,) * 3, "bicubic", "down"),
        ),
        (
            "ConvNext",
            {"size": {"shortest_edge": 384}, "crop_pct": 0.875},
            Preprocess((384, 384), None, (0.5,) * 3, (0.5,) * 3, "bicubic"),
        ),
        (
            "Bit",
            {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "do_normalize": False},
            Preprocess(40, 32, (0.0,) * 3, (1.0,) * 3, "bicubic", "down"),
        ),
        ("ViT", {"size": {"height": 32, "width": 32}, "do_rescale": False}, None),
        ("ViT", {"size": {"height": 32, "width": 32}, "resample": Image.Resampling.LANCZOS}, None),
    ],
)
def test_processors(kind: str, settings: dict[str, Any], expected: Preprocess | None) -> None:
    """Oracle: the processor's own output; what no Preprocess gives stays the processor."""
    processor = _processor(kind, **settings)
    found = from_processor(processor)
    assert found == expected if expected else isinstance(found, ForeignTransform)
    for photo in NOISE:
        theirs = processor(photo, return_tensors="pt")["pixel_values"]
        assert (found(photo) - theirs).abs().max() <= 1e-5


def test_on_real_photos(shared: Path) -> None:
    processor = _processor("Bit", size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224})
    found = from_processor(processor)
    assert isinstance(found, Preprocess)
    for file in sorted((shared / "data" / "imagenet_photos").glob("*.jpg"))[::20]:
        photo = read_image(file)
        assert (found(photo) - processor(photo, return_tensors="pt")["pixel_values"]).abs().max() <= 1e-5


def test_without_names_and_processor_it_is_said(save: Callable[..., nn.Module], tmp_path: Path) -> None:
    save("ViT", named=False)
    net = load(f"hf:{tmp_path}", device="cpu")
    assert net.classes == ()
    assert net.preprocess == Preprocess(32, 32)  # the config's size
    assert any("no mean and std known" in note for note in net.notes)


def test_labels_come_in_the_order_of_the_outputs() -> None:
    assert labels({"2": "c", "0": "a", "1": "b"}) == ("a", "b", "c")
    assert labels({0: "a", 2: "c"}) == ()
    assert labels({0: "LABEL_0", 1: "LABEL_1"}) == ()
    assert labels(None) == ()


def test_random_weights_and_weights_from_a_file(save: Callable[..., nn.Module], tmp_path: Path) -> None:
    saved = save("ViT", processor=_processor("ViT", size={"height": 32, "width": 32}))
    x = nets.images(1, h=32, w=32, dtype=torch.float32)
    drawn = load(f"hf:{tmp_path}", weights="random", device="cpu")
    assert drawn.name == f"hf:{tmp_path} (random weights)"
    assert not torch.equal(drawn.module(x).logits, saved(x).logits)
    read = load(f"hf:{tmp_path}", weights=tmp_path / "model.safetensors", device="cpu")
    assert torch.equal(read.module(x).logits, saved(x).logits)
    other = load(f"hf:{tmp_path}", weights="random", classes=["a", "b", "c", "d"], device="cpu")
    assert other.module(x).logits.shape == (1, 4)


def test_a_live_model_with_its_processor(save: Callable[..., nn.Module]) -> None:
    processor = _processor("ViT", size={"height": 32, "width": 32})
    model = save("ViT")
    net = load(model, preprocess=from_processor(processor), classes=["cat", "dog", "a bird"])
    assert grad_cam(net.module, net.input_of(NOISE[1]), target=2).shape == (1, 4, 4)
    bare = load(model, preprocess=lambda photo: processor(photo, return_tensors="pt")["pixel_values"])
    assert torch.allclose(bare.input_of(NOISE[1]), net.input_of(NOISE[1]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda s, d: s("ViT", model="Model"), "is a ViTModel, no image classifier"),
        (
            lambda s, d: _headless(s, d),
            r"holds no weights for classifier\.bias, classifier\.weight: they would",
        ),
        (lambda s, d: _pickled(s, d), r"weights of hf:.* cannot be loaded .*unless you trust pickles: --trust-pickle"),
        (lambda s, d: _other_code(d), "hf:.* brings code of its own, which is never run"),
        (lambda s, d: None, "the model hf:.* cannot be read .*config.json"),
    ],
)
def test_folders_that_are_refused(
    prepare: Callable[..., Any], message: str, save: Callable[..., nn.Module], tmp_path: Path
) -> None:
    prepare(save, tmp_path)
    with pytest.raises(ConvscopeError, match=message):
        load(f"hf:{tmp_path}", device="cpu")
    assert not (tmp_path / "ran").exists()


def _headless(save: Callable[..., nn.Module], folder: Path) -> None:
    save("ViT", model="Model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["ViTForImageClassification"]}))


def _pickled(save: Callable[..., nn.Module], folder: Path) -> None:
    saved = save("ViT")
    torch.save(saved.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _other_code(folder: Path) -> None:
    """A model whose code lies beside it: it must not run."""
    (folder / "theirs.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
    config = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
    (folder / "config.json").write_text(json.dumps(config))


def test_pickled_weights_are_read_where_they_are_trusted(save: Callable[..., nn.Module], tmp_path: Path) -> None:
    _pickled(save, tmp_path)
    assert load(f"hf:{tmp_path}", device="cpu", trust_pickle=True).classes == ("cat", "dog", "a bird")


def test_a_path_that_is_no_folder_is_not_asked_of_the_hub(tmp_path: Path) -> None:
    with pytest.raises(ConvscopeError, match=r"no folder .*nowhere; hf: takes ORG/NAME, or a folder"):
        load(f"hf:{tmp_path}/nowhere")


def test_a_download_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: Any, **__: Any) -> None:
        raise OSError("no route to the hub")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", cut)
    with pytest.raises(ConvscopeError, match=r"the model hf:org/name cannot be read \(OSError: no route to the hub\)"):
        load("hf:org/name")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConvscopeError, match=r"'hf:org/name' needs the extra: pip install 'convscope\[hf\]'"):
        load("hf:org/name")


def test_the_librarys_verbosity_is_as_before(save: Callable[..., nn.Module], tmp_path: Path, capfd: Any) -> None:
    save("ViT")
    before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    capfd.readouterr()
    load(f"hf:{tmp_path}", device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()) == before
