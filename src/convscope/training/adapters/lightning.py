"""A probe as a callback of Lightning's Trainer: looks before training and after each epoch, and changes nothing.

    trainer = Trainer(max_epochs=20, callbacks=[ProbeCallback(out="mine.run", network="net")])

Epoch k of a snapshot is after k epochs, as everywhere here; Lightning's ``current_epoch`` counts from 0. Without
``data`` it looks at a sample of what the Trainer is given: its training loader and its first validation loader.

A Trainer that goes on (``fit(ckpt_path=...)``) goes on in the folder too, and later snapshots of the training that was
broken off are taken away. Of several processes the first one looks. ``fast_dev_run`` leaves no folder.

Pitfalls: a checkpoint from within an epoch: the snapshot after it is of a whole epoch, made of two halves. Weights
that are sharded over devices (FSDP, DeepSpeed) are whole nowhere, and are refused.
"""

from pathlib import Path
from typing import Any

from torch import nn

from convscope.errors import ConvscopeError, nearest
from convscope.training.probe import Probe

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise ConvscopeError(f"ProbeCallback needs Lightning: pip install 'convscope[lightning]' ({error})") from error

_SHARDED = ("FSDP", "DeepSpeed", "ModelParallel")


class ProbeCallback(Callback):
    """Looks at a LightningModule in training; ``probe`` is its :class:`Probe` once training began."""

    def __init__(
        self,
        layers: Any = None,
        data: Any = None,
        every: int = 1,
        *,
        out: str | Path | None = None,
        network: str = "",
        **options: Any,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            layers: as for ``Probe``, named within ``network``.
            data: as for ``Probe``; None: the Trainer's own loaders.
            every: look at epochs that are a multiple of it.
            out: a folder ``NAME.run``; None keeps snapshots in memory.
            network: where in the LightningModule the network is, ``"net"``; "" is the module itself.
            options: all others of ``Probe``: ``classes``, ``units``, ``embed``, ``samples``, ``on_snapshot`` ...
        """
        super().__init__()
        self.probe: Probe | None = None
        self._layers, self._data, self._every, self._out = layers, data, every, out
        self._network: str = network
        self._options: dict[str, Any] = options

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The weights are loaded and the loaders are there: fix what is looked at, and look."""
        _refuse_sharded(trainer)
        if not trainer.is_global_zero:
            return
        out = None if getattr(trainer, "fast_dev_run", False) else self._out
        going_on = bool(trainer.current_epoch or trainer.global_step)
        options: dict[str, Any] = {"resume": going_on, **self._options}
        data = _loaders(trainer) if self._data is None else self._data
        self.probe = Probe(_part(pl_module, self._network), self._layers, data, self._every, out=out, **options)
        if not going_on:
            self.probe(0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Look, after validation."""
        if self.probe is not None:
            self.probe(trainer.current_epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """The folder is whole."""
        if self.probe is not None:
            self.probe.finish()


def _part(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError:
        names = [name for name, _ in module.named_children()]
        raise ConvscopeError(
            f"no network {path!r} in {type(module).__name__}{nearest(path, names)} (it has {', '.join(names)})"
        ) from None


def _loaders(trainer: Trainer) -> dict[str, Any]:
    """The Trainer's own, by the names that reports use."""
    found = {"train": trainer.train_dataloader, "held out": trainer.val_dataloaders}
    for split, loaders in found.items():
        if isinstance(loaders, list | tuple) and loaders:
            found[split] = loaders[0]
    found = {split: loader for split, loader in found.items() if loader is not None and loader != []}
    if not found:
        raise ConvscopeError("the Trainer has no loaders to look at: give ProbeCallback(data=...)")
    return found


def _refuse_sharded(trainer: Trainer) -> None:
    strategy = type(trainer.strategy).__name__
    if strategy.startswith(_SHARDED):
        raise ConvscopeError(
            f"{strategy} shards the weights over devices, so that no process has the network to look at; "
            "a probe takes one device or DDP"
        )
