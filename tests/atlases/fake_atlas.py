"""An atlas in memory, with the methods of ``convscope.store.atlas.Atlas`` that sheets read, computed the slow way.

Two passes in float64 over all activations, which are all kept: the oracle of what the sheets print, and small.
"""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from convscope.dataset.histograms import EDGES
from convscope.network.taps import tap


class FakeAtlas:
    """``net``: from ``cs.load``; ``photos``: id -> (PIL image, data class or None); ``right``: class -> numbers."""

    def __init__(self, net, photos, layers, *, path="fake.atlas", data=None, right=None) -> None:
        self.path, self.net, self.photos = Path(path), net, photos
        self.names = list(photos)
        self.labels = [photos[name][1] for name in self.names]
        self.classes = tuple(sorted({label for label in self.labels if label is not None}))
        self.network_classes = net.classes
        self._right = right or {name: (net.classes.index(name),) for name in self.classes}
        network = {"spec": None, "name": net.name, "fingerprint": net.fingerprint}
        self.about: dict[str, Any] = {"data": data, "data_line": f"{len(photos)} photos", "network": network}
        self.maps: dict[str, np.ndarray] = {}
        logits = []
        parts: dict[str, list] = {name: [] for name in layers}
        for name in self.names:
            with torch.no_grad(), tap(net.module, *layers) as seen:
                logits.append(net.module(net.input_of(photos[name][0])).flatten().double())
            for layer in layers:
                parts[layer].append(seen[layer].double().numpy()[0])
        self.maps = {layer: np.stack(each) for layer, each in parts.items()}
        self.logits = torch.stack(logits)
        rows = [(n, "Conv2d", m.shape[1], m.shape[2:], 3, 1, 0) for n, m in self.maps.items()]
        fields = ("name", "type", "units", "shape", "field_size", "field_stride", "field_offset")
        self.layers = tuple(SimpleNamespace(**dict(zip(fields, row, strict=True))) for row in rows)
        self.images, self.skipped = len(self.names), []

    # classes
    def right(self, name: str) -> tuple[int, ...]:
        return self._right[name]

    def accuracy(self) -> dict[str, tuple[int, int]]:
        top = self.logits.argmax(1).tolist()
        found = {}
        for name in self.classes:
            of = [t for t, label in zip(top, self.labels, strict=True) if label == name]
            found[name] = (sum(t in self._right[name] for t in of), len(of))
        return found

    def confusion(self) -> list[tuple[str, int, int]]:
        top = self.logits.argmax(1).tolist()
        counts = Counter((label, t) for t, label in zip(top, self.labels, strict=True) if label is not None)
        return [(label, t, n) for (label, t), n in sorted(counts.items())]

    def _row(self, place: int) -> dict[str, Any]:
        logits, label = self.logits[place], self.labels[place]
        p = logits.softmax(0)
        top = int(logits.argmax())
        right = list(self._right[label])
        return {
            "image": self.names[place], "label": label, "predicted": top, "predicted_name": self.network_classes[top],
            "probability": float(p[top]), "loss": float(-p[right].sum().log()), "logit": float(logits[right].max()),
        }  # fmt: skip

    def prototypes(self, name: str) -> dict[str, list[dict[str, Any]]]:
        rows = [self._row(place) for place, label in enumerate(self.labels) if label == name]
        return {
            "least loss": sorted(rows, key=lambda r: r["loss"])[:3],
            "largest logit": sorted(rows, key=lambda r: -r["logit"])[:3],
        }

    def suspects(self, n: int) -> list[dict[str, Any]]:
        rows = [self._row(place) for place, label in enumerate(self.labels) if label is not None]
        return sorted(rows, key=lambda r: -r["loss"])[:n]

    # units
    def class_statistics(self, layer: str, statistic: str) -> tuple[tuple[str, ...], np.ndarray]:
        of = {
            "mean": lambda m: m.mean((0, 2, 3)), "maximum": lambda m: m.max((0, 2, 3)),
            "rectified": lambda m: np.maximum(m, 0).mean((0, 2, 3)),
        }[statistic]  # fmt: skip
        return self.classes, np.stack([of(self._of(layer, name)) for name in self.classes])

    def _of(self, layer: str, name: str) -> np.ndarray:
        return self.maps[layer][[label == name for label in self.labels]]

    def layer_statistics(self, layer: str) -> dict[str, Any]:
        m = self.maps[layer]
        found: dict[str, Any] = {
            "mean": m.mean((0, 2, 3)), "variance": m.var((0, 2, 3)), "share_positive": (m > 0).mean((0, 2, 3)),
            "maximum": m.max((0, 2, 3)), "minimum": m.min((0, 2, 3)), "count": np.full(m.shape[1], m[:, 0].size),
            "class": [None] * m.shape[1], "selectivity": np.full(m.shape[1], np.nan),
        }  # fmt: skip
        if self.classes:
            means = np.stack([np.maximum(self._of(layer, name), 0).mean((0, 2, 3)) for name in self.classes])
            best = means.argmax(0)
            rest = (means.sum(0) - means.max(0)) / (len(means) - 1)
            found["selectivity"] = (means.max(0) - rest) / (np.abs(means.max(0)) + np.abs(rest))
            found["class"] = [self.classes[k] for k in best]
        return found

    def statistics(self, unit: str) -> dict[str, Any]:
        layer, number = unit.rsplit(":", 1)
        k, m = int(number), self.maps[layer][:, int(number)]
        found = {name: v[k] for name, v in self.layer_statistics(layer).items()}
        by_class = {
            name: {
                "mean": of.mean(),
                "rectified": np.maximum(of, 0).mean(),
                "maximum": of.max(),
                "share_positive": (of > 0).mean(),
                "count": of.size,
            }
            for name in self.classes
            for of in (self._of(layer, name)[:, k],)
        }
        quantiles = {q: float(np.quantile(m, q)) for q in (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)}
        return {**found, "histogram": (EDGES, np.histogram(m, EDGES)[0]), "quantiles": quantiles, "by_class": by_class}

    def mean_patterns(self, layer: str, name: str) -> np.ndarray:
        maps = torch.from_numpy(self._of(layer, name).mean(0))
        size = [min(14, side) for side in maps.shape[-2:]]
        return torch.nn.functional.adaptive_avg_pool2d(maps, size).float().numpy()

    def features(self, layer: str) -> tuple[list[str], np.ndarray]:
        return self.names, self.maps[layer].mean((2, 3)).astype(np.float32)

    def neighbours(self, unit: str, n: int) -> list[tuple[str, float]]:
        layer, number = unit.rsplit(":", 1)
        together = np.corrcoef(self.features(layer)[1].T)[int(number)]
        order = [k for k in np.argsort(-together, kind="stable") if k != int(number)]
        return [(f"{layer}:{k}", float(together[k])) for k in order[:n]]

    def dead(self) -> list[str]:
        return [f"{layer}:{k}" for layer, m in self.maps.items() for k in np.nonzero(m.max((0, 2, 3)) <= 0)[0]]

    def duplicates(self) -> list[tuple[str, str, list[str]]]:
        return []

    def nonfinite(self) -> list[tuple[str, int, int, int, str]]:
        return []
