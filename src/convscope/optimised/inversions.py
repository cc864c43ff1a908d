"""What a layer still knows of a photo: the picture that gives the layer the same features, and how near it comes.

The picture is made by optimisation from grey (``synthesis.inversion``). What the layer lost is filled in by what
speaks against grain; where it differs from the photo and the error is low, the layer does not see the difference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

import torch
from PIL import Image
from torch import Tensor

from convscope.answers import Photo, Seen, refusing_input, seen_by
from convscope.drawing import picture_of
from convscope.errors import ConvscopeError
from convscope.network.head import default_layer
from convscope.network.layers import find_calls
from convscope.network.loading import Network
from convscope.network.main_path import main_path
from convscope.network.pixel_inputs import PixelInput, pixel_input
from convscope.optimised.interrupted import Interrupted, UnfinishedError
from convscope.optimised.one_inversion import Inversion
from convscope.results import fitted
from convscope.seeds import seeded
from convscope.stamps import Stamp
from convscope.synthesis.ascent import AscentError, Step
from convscope.synthesis.inversion import Inverting, features_of, invert_features
from convscope.synthesis.keeping import NOTHING_KEPT, Keeper, keep_finished, keep_state, kept_state

_GREY = "grey"  # beside an unfinished picture's state: the error that it began with


@overload
def invert(net: Network, photo: "Photo | Seen", layer: str | None = ..., **options: Any) -> Inversion: ...
@overload
def invert(net: Network, photo: "Photo | Seen", layer: Sequence[str], **options: Any) -> dict[str, Inversion]: ...
def invert(
    net: Network,
    photo: "Photo | Seen",
    layer: Any = None,
    *,
    seed: int = 0,
    keeper: Keeper = NOTHING_KEPT,
    key: str = "",
    on_layer: Callable[[str], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Any:
    """The picture that a layer cannot tell from the photo, as nearly as it can be found.

    Args:
        net: from ``load``.
        photo: a path, a PIL image or a uint8 array.
        layer: its name, of maps or fully connected; None is the last map before the head; a list gives a dict. The
            layers that ``layers_on_the_path`` names are those that everything goes through.
        seed: of the start, grey with the faintest noise.
        keeper: keeps finished pictures and the state of unfinished ones.
        key: begins the keeper's keys, where one keeper is for several calls.
        on_layer: called with each layer's name before it is inverted.
        on_step: called with (done, all) steps of each layer.
        options: of ``synthesis.inversion.Inverting``: ``steps``, ``rate``, ``tv``, ``lp``, ``image``, ``tv_beta``,
            ``lp_power``.

    Raises:
        ConvscopeError: before the first step, anything in this that does not exist, or features that are all zero.
        UnfinishedError: an error that is not finite; it has the inversions that are ready.
        Interrupted: on Ctrl-C; a ``KeyboardInterrupt`` that has the inversions that are ready.
    """
    how = _how(options)
    seen = seen_by(net, photo)
    with refusing_input(net, seen.x):
        names = [layer or default_layer(net.module, seen.x)] if layer is None or isinstance(layer, str) else list(layer)
    if not names:
        raise ConvscopeError("layer=[] asks for no layer; give at least one, or None for the last map")
    run = Run(seen, how, seed, keeper, key)
    made = run.all(names, on_layer or _nothing, on_step or _nothing)
    return made[names[0]] if layer is None or isinstance(layer, str) else made


def layers_on_the_path(net: Network, photo: "Photo | Seen") -> tuple[tuple[str, ...], dict[str, str]]:
    """The layers that everything goes through, in order (``network.main_path``), and those without features, with why.

    Raises:
        ConvscopeError: a photo that the network does not take, a network without such layers.
    """
    seen = seen_by(net, photo)
    with refusing_input(net, seen.x):
        names = main_path(net.module, seen.x)
        why = {name: _why_not(features_of(net.module, seen.x, name)) for name in names}
    left_out = {name: reason for name, reason in why.items() if reason}
    return tuple(name for name in names if name not in left_out), left_out


@dataclass(frozen=True, eq=False)
class Run:
    """Inversions of one photo by one network with one setting."""

    seen: Seen
    how: Inverting
    seed: int = 0
    keeper: Keeper = NOTHING_KEPT
    key: str = ""

    @cached_property
    def pixels(self) -> PixelInput:
        """From pictures to the network's input."""
        return pixel_input(self.seen.net)

    @cached_property
    def photo(self) -> Image.Image:
        """The photo in the pixels that the network saw; as a view of it where these cannot be told."""
        pixels = self.pixels
        if pixels.source != tuple(range(pixels.channels)):
            return fitted(self.seen.view, max(self.seen.x.shape[2:]))
        mean, std = (numbers.to(self.seen.x.device, torch.float64) for numbers in (pixels.mean, pixels.std))
        return picture_of((self.seen.x[0].double() * std + mean).clamp(0, 1))

    @cached_property
    def stamp(self) -> Stamp:
        """Of all of them."""
        return replace(self.seen.stamp, seed=self.seed)

    def all(
        self, layers: Sequence[str], on_layer: Callable[[str], Any], on_step: Callable[[int, int], Any]
    ) -> dict[str, Inversion]:
        """Layer -> its inversion; all are checked before the first is made."""
        seeded(self.seed)
        self.check(layers)
        made: dict[str, Inversion] = {}
        for layer in dict.fromkeys(layers):
            on_layer(layer)
            missing = tuple(name for name in dict.fromkeys(layers) if name not in made)
            try:
                made[layer] = self.one(layer, on_step)
            except AscentError as error:
                last = {} if error.last is None else {layer: error.last.image[0].cpu()}
                raise UnfinishedError(f"layer {layer!r}: {error}", made, missing, last) from error
            except KeyboardInterrupt as stopped:
                raise Interrupted(made, missing) from stopped
        return made

    def check(self, layers: Sequence[str]) -> None:
        """Refuse what cannot be inverted, before any time is spent.

        Raises:
            ConvscopeError: an unknown layer, one whose features are all zero or not finite.
        """
        find_calls(self.seen.net.module, layers)
        assert self.pixels.channels  # a preprocess through which no pictures can be made is refused here
        for layer in layers:
            if why := _why_not(self._features(layer)):
                raise ConvscopeError(f"layer {layer!r} cannot be inverted for this photo: {why}")

    def one(self, layer: str, on_step: Callable[[int, int], Any]) -> Inversion:
        """One inversion: kept, gone on with, or made."""
        key, features = f"{self.key}{layer}", self._features(layer)
        done = self.keeper.kept(key)
        if done is None:
            done = self._made(layer, features, key, on_step)
        error, grey = done["errors"].tolist()
        shape = tuple(features.shape[1:])
        return Inversion(done["values"], error, grey, layer, shape, self.photo, self.how, self.stamp)

    def _made(self, layer: str, features: Tensor, key: str, on_step: Callable[[int, int], Any]) -> dict[str, Tensor]:
        state = kept_state(self.keeper, key)
        first = None if state is None else state.pop(_GREY)
        step: Step | None = None
        for step in self._steps(layer, features, state):
            first = -step.scores.double().cpu() if first is None else first
            on_step(step.step, self.how.steps)
            keep_state(self.keeper, key, lambda kept=step, grey=first: kept.state() | {_GREY: grey})
        assert step is not None  # the start is always yielded
        assert first is not None
        errors = torch.cat([-step.scores.double().cpu(), first.double()])
        done = {"values": step.image[0].float().cpu(), "errors": errors}
        keep_finished(self.keeper, key, done)
        return done

    def _steps(self, layer: str, features: Tensor, state: Mapping[str, Tensor] | None):
        h, w = self.seen.x.shape[2:]
        return invert_features(
            self.seen.net.module,
            layer,
            features,
            c=self.pixels.channels,
            size=(h, w),
            to_input=self.pixels,
            generator=seeded(self.seed),
            how=self.how,
            state=state,
            device=self.pixels.device,
            dtype=self.pixels.dtype,
        )

    def _features(self, layer: str) -> Tensor:
        with refusing_input(self.seen.net, self.seen.x):
            return features_of(self.seen.net.module, self.seen.x, layer)


def _why_not(features: Tensor) -> str:
    if not features.is_floating_point() or len(features) != 1:
        return f"its output of shape {tuple(features.shape)} is not one tensor of real numbers for one image"
    if not bool(torch.isfinite(features).all()):
        return "it has features that are not finite"
    return "" if bool(features.any()) else "all its features are zero"


def _how(options: Mapping[str, Any]) -> Inverting:
    unknown = [name for name in options if name not in Inverting.__dataclass_fields__]
    if unknown:
        raise ConvscopeError(f"invert has no option {unknown[0]!r}; it has {', '.join(Inverting.__dataclass_fields__)}")
    return Inverting(**options)


def _nothing(*_: Any) -> None:
    pass
