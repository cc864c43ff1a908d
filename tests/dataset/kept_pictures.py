"""Pictures kept in memory, and winners found the slow way: every activation of every photo, sorted."""

import hashlib
import io
import threading

from PIL import Image

from convscope.dataset.patches import Winner
from convscope.network.evaluation import evaluation
from convscope.network.layers import run_model
from convscope.network.loading import Network
from convscope.network.receptive_fields import Box, receptive_boxes
from convscope.network.taps import tap
from tests.dataset.small_survey import Photos


class KeptPictures:
    """As ``store.picture_files``, without a disk."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.calls = 0
        self._lock = threading.Lock()

    def keep(self, content: bytes) -> str:
        name = f"{hashlib.sha256(content).hexdigest()[:32]}.webp"
        with self._lock:
            self.calls += 1
            self.files[name] = content
        return name

    def read(self, name: str) -> Image.Image:
        with Image.open(io.BytesIO(self.files[name]), formats=("WEBP",)) as image:
            return image.convert("RGB")


def winners_of(net: Network, source: Photos, layer: str, *, top: int = 9) -> list[Winner]:
    """By unit and rank; of equal values the earlier photo and position."""
    found: dict[int, list[tuple[float, str, int, int, Box]]] = {}
    for name in source.names():
        x = net.input_of(source.read(name).image).requires_grad_()
        with evaluation(net.module):
            with tap(net.module, layer) as seen:
                run_model(net.module, x.clone())
            activation = seen[layer]
            is_map = activation.ndim == 4
            boxes = receptive_boxes(activation, x)
        for unit, values in enumerate(activation[0].detach()):
            place = int(values.argmax())
            y, x_ = divmod(place, values.shape[-1]) if is_map else (0, 0)
            row = (float(values.max()), name, y, x_, Box(*boxes[y, x_].tolist()))
            found.setdefault(unit, []).append(row)
    winners: list[Winner] = []
    for unit, rows in found.items():
        for rank, (value, name, y, x_, box) in enumerate(sorted(rows, key=lambda row: (-row[0], row[1]))[:top]):
            winners.append(Winner(layer, unit, rank, name, box, value, y, x_))
    return winners
