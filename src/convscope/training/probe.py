"""The probe: how a network is learning, looked at after each epoch of anybody's training loop.

    probe = Probe(net, ["conv1", "conv2"], {"train": train_loader, "held out": test_loader}, out="mine.run")
    probe(0)                                # before training
    for epoch in range(1, epochs + 1):
        train_one_epoch(net, train_loader)
        probe(epoch)
    folder = probe.finish()                 # convscope training mine.run draws its sheets and films

A snapshot holds loss, accuracy and confusion of each split, the first convolution's filters, every layer's weights in
one number, how far they moved, its values' mean, deviation and histogram, and the share of dead units, the maps (or
maximising pictures) of chosen units, and the held-out images as points of a plane, begun at the snapshot before
(``looking.py``, ``layer_states.py``, ``aligned_embedding.py``).

It does not change the training: weights are bit for bit those of a training without it (``undisturbed.py``,
``fixed_sample.py``). It looks at a sample of each split that is fixed when it is made, so that epochs compare.

Pitfalls: hooks of the user's own run in the probe's passes too, as in any evaluation of the network; what they change
outside it is not put back. The loss on a training set that is augmented is that of one fixed draw.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from convscope.errors import ConvscopeError
from convscope.network.layers import find_calls, without_wrappers
from convscope.network.loading import Network
from convscope.training.fixed_sample import samples_of
from convscope.training.layer_states import Weights, weights_of
from convscope.training.looking import look
from convscope.training.probe_folder import InMemory, InRun, Keeper, own_run
from convscope.training.probe_subjects import what_to_look_at
from convscope.training.run_data import RunData
from convscope.training.snapshot import Embedded, Snapshot
from convscope.training.undisturbed import undisturbed

_SAME = 1e-9  # relative: a network that goes on has the weights that its last snapshot saw

OnSnapshot = Callable[[Snapshot], object]


class Probe:
    """Looks at a network in training; see the module's docstring."""

    def __init__(
        self,
        model: nn.Module | Network,
        layers: Sequence[str] | str | None,
        data: Any,
        every: int = 1,
        *,
        out: str | Path | None = None,
        run: str | Path | None = None,
        classes: Sequence[str] | None = None,
        units: Sequence[str] = (),
        embed: str | bool | None = None,
        embedding: str = "t-sne",
        samples: int | None = 512,
        batch: int = 64,
        pictures: bool = False,
        preprocess: Any = None,
        on_snapshot: Iterable[OnSnapshot] = (),
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        """Fix what is looked at; the network is run once on a few images.

        Args:
            model: the network that is trained, on any device; a ``Network`` has classes and preprocessing with it.
            layers: whose state is followed; None: all convolutions and linear layers.
            data: ``{"train": ..., "held out": ...}`` or one thing; each (x, y) tensors, a Dataset of (tensor, class) or
                a DataLoader of one; or a ``RunData``. Layers are looked at on ``"held out"``, or on the last split.
            every: look at epochs that are a multiple of it.
            out: a folder ``NAME.run`` of the probe's own; None keeps snapshots in memory.
            run: the folder of a run that the training itself holds, in place of ``out``.
            classes: their names.
            units: whose maps are kept, ``"conv2:3"``.
            embed: the layer whose pooled activations are laid out; None: what the last linear layer is given, or, where
                nothing before that learns, what it answers; False: no embedding.
            embedding: ``"t-sne"``, which keeps an image's neighbours, or ``"pca"``, which takes no time.
            samples: images of each split, spread over it; None: all.
            batch: images a pass.
            pictures: make the units' maximising pictures as well, which takes seconds an epoch.
            preprocess: the ``Preprocess`` that made the inputs, for showing them; None: their range is black to white.
            on_snapshot: called with each ``Snapshot``, and leave no trace in the training's random numbers either.
            resume: go on in ``out``, finished or not; make the probe when the weights are loaded.
            overwrite: take the place of a run in ``out``, unless ``resume``.

        Raises:
            ConvscopeError: anything in this that does not exist or does not fit; a run in ``out`` and neither
                ``resume`` nor ``overwrite``.
        """
        _check_counts(every=every, batch=batch)
        for known in (data, model):
            if isinstance(known, RunData | Network):
                classes, preprocess = classes or known.classes, preprocess or known.preprocess
        module = model.module if isinstance(model, Network) else model
        self.model, self.every, self.on_snapshot = without_wrappers(module), every, tuple(on_snapshot)
        found = samples_of(data, samples)
        named = [layers] if isinstance(layers, str) else layers
        with undisturbed(self.model):
            self.wanted = what_to_look_at(
                self.model, found, classes=tuple(classes or ()), layers=named, units=units, embed=embed,
                embedding=embedding, pictures=pictures, preprocess=preprocess, batch=batch,
            )  # fmt: skip
        self._modules = {name: call.module for name, call in find_calls(self.model, self.wanted.layers).items()}
        self._weights: Weights = weights_of(self._modules)
        self._last: int | None = None
        self._laid_out: Embedded | None = None
        self._keeper: Keeper = self._kept_in(out, run, samples, resume, overwrite)

    def __call__(self, epoch: int) -> Snapshot | None:
        """Look at the network after an epoch; 0 is before training. None where ``every`` passes it over.

        Raises:
            ConvscopeError: no epoch, or one that is not after the last; what the network refuses.
            UnwritableError: a full disk.
        """
        if isinstance(epoch, bool) or not hasattr(epoch, "__index__") or epoch < 0:
            raise ConvscopeError(f"epoch {epoch!r}: a whole number, 0 before training")
        if self._last is not None and epoch <= self._last:
            raise ConvscopeError(f"epoch {epoch} after epoch {self._last}: a new training takes a new Probe")
        if epoch % self.every:
            return None
        with undisturbed(self.model):
            before = self._weights if self._last is not None else self._gone_on_with(int(epoch))
            now = weights_of(self._modules)
            snapshot = look(self.model, self.wanted, int(epoch), now, before, self._laid_out)
            self._keeper.keep(snapshot)
            self._weights, self._last = now, int(epoch)
            self._laid_out = snapshot.embedding or self._laid_out
            for tell in self.on_snapshot:
                tell(snapshot)
        return snapshot

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All so far, read from the folder where there is one."""
        return self._keeper.every()

    def finish(self) -> Path | None:
        """The training is over: the folder with the snapshots, whole; None where they are in memory only."""
        return self._keeper.finish()

    def _gone_on_with(self, epoch: int) -> Weights:
        """The weights at the snapshot before ``epoch``, which another probe made: ours, if they are its own."""
        earlier = self._keeper.before(epoch)
        norms = {layer.name: layer.weight_norm for layer in earlier.layers} if earlier is not None else {}
        while earlier is not None and earlier.embedding is None:  # an epoch whose features gave no plane
            earlier = self._keeper.before(earlier.epoch)
        self._laid_out = earlier.embedding if earlier is not None else None
        same = all(_alike(float(w.double().norm()), norms.get(name)) for name, w in self._weights.items())
        return self._weights if same else {}

    def _kept_in(
        self, out: str | Path | None, run: str | Path | None, samples: int | None, resume: bool, overwrite: bool
    ) -> Keeper:
        if run is not None:
            if out is not None:
                raise ConvscopeError("out= makes a run's folder and run= takes one that is held: give one of them")
            return InRun(Path(run))
        if out is None:
            return InMemory()
        w = self.wanted
        settings = {
            "every": self.every, "samples": samples, "layers": list(w.layers), "embed": w.embed,
            "embedding": w.embedding,
            "units": list(map(str, w.units)), "pictures": w.pictures,
        }  # fmt: skip
        data = {name: {"images": sample.of, "looked at": len(sample)} for name, sample in w.samples.items()}
        return own_run(
            Path(out), settings, {"splits": data, "watched": w.watched}, w.classes, resume=resume, overwrite=overwrite
        )


def _alike(now: float, before: float | None) -> bool:
    return before is not None and abs(now - before) <= _SAME * max(now, before)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if isinstance(count, bool) or not hasattr(count, "__index__") or count < 1:
            raise ConvscopeError(f"{name}={count!r}: a whole number from 1 on")
