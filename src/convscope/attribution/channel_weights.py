"""What the two methods share that weigh a layer's maps without a gradient: by passes with each channel tried in turn.

With A the activations of a layer and S the score, a *trial* of channel k is a pass of the network in which that
channel is taken away (Ablation-CAM) or in which its map alone lights the picture (Score-CAM); it gives w_k, and

    map = ReLU( sum_k w_k A_k )

One trial a channel: hundreds of passes an image. They run over one image at a time, ``batch`` trials in a pass, each
a pass of the whole network from its input, so that shortcuts around the layer carry what belongs to them.

A layer that the score is not computed from is refused, as by the methods with a gradient: all its trials would be one
number, a map of nothing. Pitfall: it is told by one more pass, the layer disturbed, and where that changes nothing by
the autograd graph; a network that turns gradients off and whose score stays has a map all the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast, overload, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge

from convscope.attribution.activation_maps import weighted_map
from convscope.attribution.layer_maps import Layers, as_asked, image_size, layer_names
from convscope.errors import ConvscopeError
from convscope.network.evaluation import evaluation
from convscope.network.graph import nodes
from convscope.network.passes import Inputs, forward, raw
from convscope.network.questions import Question, check_batch, questions
from convscope.network.taps import tap
from convscope.network.targets import Target
from convscope.network.token_grids import as_maps


@dataclass(frozen=True, eq=False)
class Trials:
    """All channels of one layer on one image: ``maps`` are its activations, ``score`` that of the image as it is."""

    ask: Question
    layer: str
    maps: Float[Tensor, "1 c h w"]
    score: Float[Tensor, ""]
    batch: int
    tell: Callable[[int], None]

    @property
    def channels(self) -> tuple[Tensor, ...]:
        """The numbers of the channels that are tried in one pass, pass by pass."""
        return torch.arange(self.maps.shape[1], device=self.maps.device).split(self.batch)


Weigh = Callable[[Trials], Tensor]  # -> (c,) weights; calls ``tell`` with the count of trials after each pass


def channel_maps(
    weigh: Weigh,
    model: nn.Module,
    x: Inputs,
    *,
    target: Target,
    layer: Layers,
    relu: bool,
    score: str,
    batch: int,
    on_step: Callable[[int, int], None] | None,
    wrt: int | str,
) -> Tensor | dict[str, Tensor]:
    """Sum of a layer's maps with the weights that ``weigh`` finds; arguments as ``ablation_cam``."""
    check_batch(batch)
    asked = questions(model, x, target=target, score=score, wrt=wrt)
    size, done = image_size(x, wrt), 0
    found: dict[str, list[Tensor]] = {}
    with evaluation(model), torch.no_grad():
        names = layer_names(model, x, layer)
        for ask in asked:
            run = forward(model, ask.about(ask.image), target=ask.target, layers=names, score=score, wrt=wrt)
            # raw before the maths: sums over channels in half precision would lose what it has
            maps = {name: raw(as_maps(run.activations[name], size, name, batch=1)) for name in names}
            for name in names:
                check_dependence(ask, name, run.scores[0].detach())
            every = len(asked) * sum(one.shape[1] for one in maps.values())

            def tell(count: int, every: int = every) -> None:
                nonlocal done
                done += count
                if on_step is not None:
                    on_step(done, every)

            for name, one in maps.items():
                weights = weigh(Trials(ask, name, one, raw(run.scores[0]), batch, tell))
                values = weighted_map(one, weights[None].to(one))
                found.setdefault(name, []).append(values.relu() if relu else values)
        # within the block: a tensor that inference mode makes could never be given to autograd
        return as_asked(layer, {name: torch.cat(each) for name, each in found.items()})


def check_dependence(ask: Question, layer: str, score: Float[Tensor, ""]) -> None:
    """Refuse a layer that ``score``, that of the image as it is, does not come from.

    The graph is asked second: a detached tensor or a checkpoint on the way hides the layer from it, and a network
    that needs no gradient may not bear one. The disturbance alone would take a saturated score for an independent one.
    """
    ran: list[str] = []

    def disturbed(values: Tensor) -> Tensor:
        ran.append(layer)
        noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
        return values + (values.abs().max() + 1) * noise.to(values)

    with tap(ask.model, edit={layer: disturbed}):
        if not torch.equal(ask(ask.image)[0], score):
            return
        if not ran or not _in_the_graph(ask, layer):
            raise ConvscopeError(f"the score does not depend on layer {layer!r}")


def _in_the_graph(ask: Question, layer: str) -> bool:
    """Whether the score's graph, from the image on, goes through the layer; True where the network records none."""
    with torch.enable_grad():
        run = forward(ask.model, ask.inputs, target=ask.target, layers=[layer], score=ask.score, wrt=ask.wrt)
        if not run.scores.requires_grad:
            return True
        activation = run.activations[layer]
        if not activation.requires_grad:
            return False
        edge = get_gradient_edge(activation)
        return any((edge.node, edge.output_nr) in node.next_functions for node in nodes(run.scores))


@runtime_checkable
class ChannelMethod(Protocol):
    """A method as a type checker sees it: at one layer it gives a tensor, at several a dict of them."""

    @overload
    def __call__(
        self,
        model: nn.Module,
        x: Inputs,
        *,
        target: Target = ...,
        layer: str | None = ...,
        relu: bool = ...,
        score: str = ...,
        batch: int = ...,
        on_step: Callable[[int, int], None] | None = ...,
        wrt: int | str = ...,
    ) -> Float[Tensor, "b h w"]: ...
    @overload
    def __call__(
        self,
        model: nn.Module,
        x: Inputs,
        *,
        target: Target = ...,
        layer: Sequence[str],
        relu: bool = ...,
        score: str = ...,
        batch: int = ...,
        on_step: Callable[[int, int], None] | None = ...,
        wrt: int | str = ...,
    ) -> dict[str, Tensor]: ...


def channel_method(function: Callable[..., Tensor | dict[str, Tensor]]) -> ChannelMethod:
    """The very same function, with the two return types that overloads of each would spell out again."""
    return cast("ChannelMethod", function)
