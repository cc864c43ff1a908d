"""An atlas written by hand: two layers, three images, two classes."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.store.feature_file import writing_tensors
from convscope.store.manifest import Manifest, write_manifest
from convscope.store.picture_files import keep_picture
from convscope.store.schema import SCHEMA
from convscope.store.tables import packed, write_tables

EDGES = [-2.0, -1.0, 1.0, 2.0]
NAN = float("nan")


def webp(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, "WEBP", lossless=True)
    return file.getvalue()


def unit(layer: int, number: int, **changed: Any) -> tuple[Any, ...]:
    facts: dict[str, Any] = {
        "layer": layer, "unit": number, "positions": 300, "mean": 0.5, "variance": 0.25, "share_positive": 0.75,
        "maximum": 9.5, "minimum": -1.5, "selectivity": 0.2, "selective_class": 1, "dead": 0, "nans": 0,
        "infinities": 0, "nonfinite_images": 0, "first_nonfinite": -1,
        "histogram": packed(np.array([1, 200, 99], "<i8")), "quantiles": np.array([-1.0, 7.0], "<f8").tobytes(),
    }  # fmt: skip
    return tuple((facts | changed).values())


def about() -> dict[str, Any]:
    return {
        "network": {"spec": "bundled:tiny50", "name": "bundled:tiny50", "fingerprint": "0" * 16},
        "network_classes": ["crane", "cat", "crane"],
        "histogram_edges": EDGES,
        "quantiles": [0.01, 0.99],
        "pattern_layers": ["conv2"],
        "data": "/photos",
    }


def rows(picture: str) -> dict[str, Any]:
    def floats(*values: float) -> bytes:
        return np.array(values, "<f4").tobytes()

    by_class = (np.array([0, 300], "<i8").tobytes(), *(floats(NAN, 0.1 * i) for i in range(6)))
    return {
        "about": sorted((key, json.dumps(value)) for key, value in about().items()),
        "layers": [
            (0, "conv1", "Conv2d", 2, 8, 9, 3, 5, 1, 2, -1.0, -2.0),
            (1, "conv2", "Conv2d", 3, 4, 4, *[None] * 6),
        ],
        "classes": [(0, "cat", "[1]", 1, 1, 1, 0.5), (1, "crane", "[0, 2]", 2, 2, 1, NAN)],
        "images": [
            (0, "cat/a.jpg", 0, 1, 0.5, 0.7, 3.0, b"0" * 16, 64, 64),
            (1, "crane/\\xe9.jpg", 1, 1, 0.9, 4.0, -3.0, b"1" * 16, 64, 64),
            (3, "d.jpg", -1, 7, NAN, NAN, NAN, b"3" * 16, 64, 64),
        ],
        "skipped": [(2, "crane/broken.jpg", "is empty (0 bytes)")],
        "units": [
            unit(0, 0), unit(0, 1, dead=1, selective_class=-1, selectivity=NAN), unit(1, 0), unit(1, 1),
            unit(1, 2, nans=5, infinities=2, nonfinite_images=1, first_nonfinite=3),
        ],
        "unit_classes": [(0, 0, *by_class), (0, 1, *by_class)],
        "exemplars": [(0, 0, 0, 9.5, 3, 2, 4, 1, 2, 4, 7), (0, 0, 1, np.float32(0.1).item(), 0, 0, 0, 0, 0, 2, 3)],
        "confusion": [(0, 1, 1), (1, 1, 1), (1, 2, 1)],
        "prototypes": [(1, "largest logit", 0, 1, -3.0), (1, "least loss", 0, 1, 4.0)],
        "suspects": [(0, 1, 4.0), (1, 0, 0.7)],
        "neighbours": [(1, 0, 0, 2, 0.9), (1, 0, 1, 1, -0.5)],
        "duplicates": [(1, 0, 2, 2, "[3, 0]")],
        "pictures": [(0, 0, 0, "context", picture, 1, 1), (0, 0, 0, "crop", picture, 0, 0)],
        "sprites": [(0, "crop", 0, 2, 9, 32, picture)],
        "ablations": [(0, 0, "zero", -1, 3, 2, 1, 0.5, 0.1), (0, 0, "zero", 1, 2, 1, 0, 0.25, NAN)],
        "runs": [(0, "2026-01-01T00:00:00", 1.5, "here", "in process", 1, "convscope 0.1.0")],
    }  # fmt: skip


def small_atlas(folder: Path, **manifest: Any) -> Path:
    picture = keep_picture(folder, webp((255, 0, 0)))
    write_tables(folder, rows(picture))
    shapes = {
        "features/images": (np.int64, (2,)),
        "conv1/features": (np.float32, (2, 2)),
        "conv2/features": (np.float32, (2, 3)),
    }
    with writing_tensors(folder / "features.safetensors", shapes) as put:
        put("features/images", np.array([0, 3]))
        put("conv1/features", np.arange(4, dtype=np.float32).reshape(2, 2))
        put("conv2/features", np.ones((2, 3), np.float32))
    shapes = {"conv2/classes": (np.int64, (2,)), "conv2/maps": (np.float32, (2, 3, 2, 2))}
    with writing_tensors(folder / "mean_patterns.safetensors", shapes) as put:
        put("conv2/classes", np.array([-1, 1]))
        put("conv2/maps", np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2))
    write_manifest(
        folder, Manifest(**{"state": "finished", "plan": "f" * 16, "about": {}, "schema": SCHEMA} | manifest)
    )
    return folder
