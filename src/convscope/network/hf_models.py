"""Image classifiers of Hugging Face by name or from a folder, with their processor and labels (``pip install
'convscope[hf]'``).

``hf:ORG/NAME`` is downloaded, ``hf:path/to/folder`` is what ``save_pretrained`` wrote. No code from either is ever run
(``trust_remote_code=False``), and weights are read from safetensors alone unless pickles are trusted. A checkpoint
without the head (a backbone, a detector) would be given a random one by the library: it is refused.

The processor is the one that works on PIL images, whose numbers the published weights were trained with; the other,
on tensors, rounds otherwise by a level or two of 255. Its settings suggest a ``Preprocess``, which is taken where it
gives the same numbers (``foreign_transforms``): ``size`` a shortest edge, or height and width whatever the photo's
shape; ``crop_size``; ConvNeXt's ``crop_pct``. Labels are the config's, none where they are LABEL_0, LABEL_1, ...
"""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from PIL import Image
from torch import Tensor, nn

from convscope.errors import ConvscopeError
from convscope.network.foreign_transforms import ForeignTransform, expressed
from convscope.network.preprocessing import Preprocess
from convscope.network.zoo import Found, missing_extra

_INTERPOLATIONS = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}
_UNNAMED = re.compile(r"LABEL_\d+")


def from_hf(name: str, *, pretrained: bool, classes: int = 0, trust_pickle: bool = False) -> Found:
    """An image classifier by its name on the hub, or the folder that ``save_pretrained`` wrote.

    Args:
        name: ``ORG/NAME`` or a folder.
        pretrained: False leaves it untrained; its configuration is read all the same.
        classes: outputs of an untrained head, 0 for its own.
        trust_pickle: also weights that are not safetensors.

    Raises:
        ConvscopeError: transformers is not installed, nothing there or no connection, no image classifier, no
            weights for its head, or pickled weights.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise missing_extra("hf", name, error) from error
    _refuse_missing_folder(name)
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": Path(name).is_dir()}
    with _quiet(transformers):
        config = _config(transformers, name, options)
        if pretrained:
            module = _pretrained(transformers, name, options, trust_pickle)
        else:
            if classes:
                config.num_labels = classes
            module = cast("nn.Module", transformers.AutoModelForImageClassification.from_config(config))
        prepared = _preprocess(transformers, name, options)
    size = getattr(config, "image_size", None)
    side = size if isinstance(size, int) else None
    return Found(module, prepared, labels(config.id2label), f"hf:{name}", side, lambda w: _renamed(module, w))


def _renamed(module: Any, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """``save_pretrained`` writes older releases' names; the library's own loading turns them into the module's."""
    import transformers

    with _quiet(transformers):
        read, report = type(module).from_pretrained(
            None, config=module.config, state_dict=dict(weights), output_loading_info=True, ignore_mismatched_sizes=True
        )
    wrong = report["missing_keys"] or report["unexpected_keys"] or report["mismatched_keys"]
    return weights if wrong else read.state_dict()


def _refuse_missing_folder(name: str) -> None:
    """A path that is no folder is not to be looked up on the hub as if it were a name."""
    is_path = name.startswith((".", "/", "~")) or name.count("/") != 1
    if is_path and not Path(name).is_dir() and "/" in name:
        raise ConvscopeError(f"no folder {name}; hf: takes ORG/NAME, or a folder that save_pretrained wrote")


@contextmanager
def _quiet(transformers: Any) -> Generator[None]:
    """Errors only within the block: what matters of the rest is raised here."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


def _config(transformers: Any, name: str, options: Mapping[str, Any]) -> Any:
    try:
        config = transformers.AutoConfig.from_pretrained(name, **options)
    except Exception as error:  # many layers of downloading raise errors of their own
        if "trust_remote_code" in str(error):
            raise ConvscopeError(
                f"hf:{name} brings code of its own, which is never run; load it yourself and give the live module"
            ) from error
        raise ConvscopeError(
            f"the model hf:{name} cannot be read ({type(error).__name__}: {error}); give a folder that "
            "save_pretrained wrote, hf:path/to/folder"
        ) from error
    made: list[str] = config.architectures or []
    if made and not any("ForImageClassification" in each for each in made):
        raise ConvscopeError(f"hf:{name} is a {made[0]}, no image classifier; load it live and give a callable target")
    if type(config) not in transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        raise ConvscopeError(f"hf:{name} is of the type {config.model_type!r}, which has no image classifier")
    return config


def _pretrained(transformers: Any, name: str, options: Mapping[str, Any], trust_pickle: bool) -> nn.Module:
    try:
        module, report = transformers.AutoModelForImageClassification.from_pretrained(
            name, use_safetensors=None if trust_pickle else True, output_loading_info=True, **options
        )
    except Exception as error:
        pickled = "" if trust_pickle else "; only safetensors are read unless you trust pickles: --trust-pickle"
        raise ConvscopeError(
            f"the weights of hf:{name} cannot be loaded ({type(error).__name__}: {error}){pickled}; give a file with "
            "--weights FILE, or --weights random for an untrained network"
        ) from error
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise ConvscopeError(
            f"hf:{name} holds no weights for {', '.join(missing[:5])}{more}: they would be random (a backbone without "
            "a head for classes?); give a file with --weights FILE"
        )
    return module


def _preprocess(transformers: Any, name: str, options: Mapping[str, Any]) -> Preprocess | ForeignTransform | None:
    """The processor; None where there is none."""
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(name, backend="pil", **options)
    except (OSError, ValueError):  # no preprocessor_config.json
        return None
    return from_processor(processor)


def from_processor(processor: Any) -> Preprocess | ForeignTransform:
    """A live image processor as a ``Preprocess`` where it is one, else itself: for ``load(model, preprocess=...)``."""

    def transform(photo: Image.Image) -> Tensor:
        return processor(photo, return_tensors="pt")["pixel_values"]

    return expressed(transform, _suggested(processor))


def _suggested(processor: Any) -> Preprocess | None:
    """What its settings seem to say; whether it is so is seen on pictures."""
    size = _sides(getattr(processor, "size", None)) if getattr(processor, "do_resize", False) else None
    crop = _sides(getattr(processor, "crop_size", None)) if getattr(processor, "do_center_crop", False) else None
    share = getattr(processor, "crop_pct", None)
    if share and isinstance(size, int):  # ConvNeXt: below 384 a crop, from there on squeezed
        size, crop = (int(size / share), size) if size < 384 else ((size, size), None)
    mean, std = (
        (getattr(processor, key, None) or default)
        for key, default in (("image_mean", (0,) * 3), ("image_std", (1,) * 3))
    )
    if not getattr(processor, "do_normalize", False):
        mean, std = (0.0,) * 3, (1.0,) * 3
    interpolation = _INTERPOLATIONS.get(getattr(processor, "resample", None) or Image.Resampling.BILINEAR)
    if interpolation is None or not all(isinstance(v, int | float) for v in (*mean, *std)):
        return None
    if isinstance(crop, tuple) and crop[0] == crop[1]:
        crop = crop[0]
    return Preprocess(size, crop, tuple(map(float, mean)), tuple(map(float, std)), cast("Any", interpolation))


def _sides(size: Any) -> int | tuple[int, int] | None:
    """``{"shortest_edge": 256}`` -> 256; ``{"height": 224, "width": 224}`` -> (224, 224)."""
    found = dict(size or {})
    if found.get("shortest_edge"):
        return int(found["shortest_edge"])
    return (int(found["height"]), int(found["width"])) if found.get("height") and found.get("width") else None


def labels(names: Mapping[Any, str] | None) -> tuple[str, ...]:
    """The config's names in the order of the outputs; none where they are LABEL_0, LABEL_1, ... or have gaps."""
    numbered = {int(k): str(v) for k, v in (names or {}).items()}
    if sorted(numbered) != list(range(len(numbered))) or all(map(_UNNAMED.fullmatch, numbered.values())):
        return ()
    return tuple(numbered[i] for i in range(len(numbered)))
