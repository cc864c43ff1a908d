"""Trainings by Lightning, with a probe and without; as a program of its own they are compared bit by bit.

    python -m tests.training.adapters.lightning_training FOLDER    writes {case: what differs, epochs seen}

Within pytest every call of the library is checked by beartype, which draws from ``random`` to do so.
"""

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from convscope.network.small_nets import small_net
from convscope.training.adapters.lightning import ProbeCallback
from convscope.training.random_states import kept_random_states

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "log_every_n_steps": 1,
}  # fmt: skip


def digits(*, held_out: bool) -> TensorDataset:
    """scikit-learn's, on 28 x 28 pixels: 320 to learn from, 80 others."""
    found = load_digits()
    part = slice(320, 400) if held_out else slice(0, 320)
    pixels = torch.tensor(found.images[part], dtype=torch.float32)[:, None] / 16
    images = F.interpolate(pixels, size=(28, 28), mode="bilinear", align_corners=False)
    return TensorDataset(images, torch.tensor(found.target[part]))


def digits_net() -> nn.Module:
    return small_net("digits").build(10)


def hard_net() -> nn.Module:
    """Dropout and batch norm, whose every pass in training mode leaves a trace, and a ReLU in place and used twice."""
    relu = nn.ReLU(inplace=True)
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.BatchNorm2d(6), relu, nn.Dropout2d(0.3), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), relu,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 10),
    )  # fmt: skip


class Classifier(LightningModule):
    """A user's own."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        x, y = batch
        # torch's, numpy's and Python's random numbers all take part
        noise = 0.01 * torch.randn(()) + float(np.random.normal(0, 0.01)) + random.gauss(0, 0.01)
        return F.cross_entropy(self(x + noise), y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)


class Validated(Classifier):
    """One that is validated after each epoch."""

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        x, y = batch
        self.log("validation", F.cross_entropy(self(x), y))


def trained(
    build: Callable[[], nn.Module], folder: Path, callbacks: list[Callback], *, validates: bool = True,
    resumed: bool = False, epochs: int = 2, **options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Everything that a training leaves; the random numbers it draws are the global ones."""
    with kept_random_states():
        torch.manual_seed(3), np.random.seed(3), random.seed(3)
        module = (Validated if validates else Classifier)(build())
        loaders = [DataLoader(digits(held_out=False), batch_size=32, shuffle=True)]
        loaders += [DataLoader(digits(held_out=True), batch_size=40)] * validates
        for last in [1, epochs] if resumed else [epochs]:
            saved = ModelCheckpoint(dirpath=folder, filename="last", save_top_k=1, enable_version_counter=False)
            trainer = Trainer(max_epochs=last, callbacks=[*callbacks, saved], **QUIET, **options)
            going_on = {"ckpt_path": str(folder / "last.ckpt"), "weights_only": False} if last > 1 and resumed else {}
            trainer.fit(module, *loaders, **going_on)
        kept = torch.load(folder / "last.ckpt", weights_only=False)
        return {
            "weights": module.state_dict(),
            "checkpoint": kept["state_dict"],
            "optimiser": kept["optimizer_states"],
            "flags": {name: part.training for name, part in module.named_modules()},
            "gradients": {name: part.grad for name, part in module.named_parameters()},
            "metrics": dict(trainer.callback_metrics),
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state()[1],
            "random": random.getstate(),
            "epoch": (kept["epoch"], kept["global_step"], trainer.current_epoch),
        }


def differing(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two nests of tensors are not the same to the last bit."""
    if isinstance(one, dict):
        keys = [f"{place}: other names"] if one.keys() != other.keys() else []
        return keys + [line for key in one for line in differing(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple):
        return [
            line for i, (a, b) in enumerate(zip(one, other, strict=True)) for line in differing(a, b, f"{place}/{i}")
        ]
    same = np.array_equal(one, other) if isinstance(one, Tensor | np.ndarray) else one == other
    return [] if same else [place]


CASES: dict[str, dict[str, Any]] = {"plain": {"validates": False}, "validated": {}, "resumed": {"resumed": True}}
NETS = {"digits": digits_net, "hard": hard_net}


class Careless(Callback):
    """Draws one random number."""

    def on_train_epoch_end(self, *_: object) -> None:
        torch.rand(())


def compared(folder: Path) -> dict[str, tuple[list[str], list[int]]]:
    """Case -> what differs from the training without a callback, and the epochs of the snapshots."""
    found = {}
    for name, build in NETS.items():
        for case, how in CASES.items():
            place = folder / name / case
            without = trained(build, place / "without", [], **how)
            probe = ProbeCallback(out=place / "net.run", network="net", samples=100)
            lines = differing(without, trained(build, place / "with", [probe], **how))
            found[f"{name}, {case}"] = lines, [one.epoch for one in probe.probe.snapshots]
    careless = trained(digits_net, folder / "careless", [Careless()])
    found["one more random number"] = differing(trained(digits_net, folder / "careful", []), careless), []
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(compared(Path(sys.argv[1]))))
