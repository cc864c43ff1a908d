"""The stamp on every result: which model, which data, which versions, which seed, which command made it."""

import hashlib
import importlib.metadata
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from convscope.network.loading import Network


@dataclass(frozen=True)
class Stamp:
    """Where a result comes from. ``model_hash`` and ``data_hash`` are the first 16 hex digits of a SHA-256."""

    model: str
    model_hash: str
    data_hash: str
    versions: str
    seed: int | None
    command: str

    def line(self) -> str:
        """One line for the foot of a picture."""
        seed = "" if self.seed is None else f"  seed {self.seed}"
        data = f"  data {self.data_hash[:8]}" if self.data_hash else ""
        model = f"  model {self.model_hash[:8]}" if self.model_hash else ""
        return f"{self.model}{model}{data}  {self.versions}{seed}"

    def fields(self) -> dict[str, str | int | None]:
        """Name -> value, for files."""
        return asdict(self)


def stamp(net: Network, photo: Image.Image | None = None, seed: int | None = None) -> Stamp:
    """The stamp of a result that ``net`` gave on ``photo``; None where no photo was needed."""
    data = "" if photo is None else pixels_hash(photo)
    return Stamp(net.name, net.fingerprint, data, versions(), seed, command_line())


def combined(stamps: Sequence[Stamp]) -> Stamp:
    """The stamp of a sheet of several results: every model once, and one hash of the hashes where these differ."""
    models = ", ".join(dict.fromkeys(s.model for s in stamps))
    seed = next((s.seed for s in stamps if s.seed is not None), None)
    model_hash, data_hash = _one_hash(s.model_hash for s in stamps), _one_hash(s.data_hash for s in stamps)
    return Stamp(models, model_hash, data_hash, stamps[0].versions, seed, stamps[0].command)


def _one_hash(hashes: Iterable[str]) -> str:
    different = list(dict.fromkeys(hashes))
    return different[0] if len(different) == 1 else hashlib.sha256("".join(different).encode()).hexdigest()[:16]


@cache
def versions() -> str:
    """``convscope 0.1.0, torch 2.15.0``."""
    return f"convscope {importlib.metadata.version('convscope')}, torch {torch.__version__.split('+')[0]}"


def pixels_hash(photo: Image.Image) -> str:
    """The first 16 hex digits of the SHA-256 over a photo's size and pixels."""
    return hashlib.sha256(repr(photo.size).encode() + photo.tobytes()).hexdigest()[:16]


def command_line() -> str:
    """The command line, where the program is convscope's own; else empty: a notebook's says nothing."""
    called = Path(sys.argv[0] if sys.argv else "")
    is_ours = called.name == "convscope" or called.parts[-2:] == ("convscope", "__main__.py")
    return shlex.join(["convscope", *sys.argv[1:]]) if is_ours else ""
