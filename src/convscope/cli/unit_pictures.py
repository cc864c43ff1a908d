"""The pictures that ``convscope unit`` makes before it draws, with the network and the photos of the atlas."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from convscope.cli import atlas_options as given
from convscope.cli.running import say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.cli.unit_asked import Asked, Part
    from convscope.network.loading import Network
    from convscope.store.atlas import Atlas


@dataclass
class Again:
    """The network of the atlas, loaded when it is first needed."""

    atlas: "Atlas"
    model: str | None
    weights: str | None
    trust_pickle: bool
    device: str | None
    data: str | None

    @cached_property
    def network(self) -> "Network":
        """Raises ConvscopeError where it cannot be loaded, or is another one."""
        how = {"model": self.model, "weights": self.weights, "device": self.device}
        return given.network_of(self.atlas, trust_pickle=self.trust_pickle, **how)

    def network_if_there(self) -> "Network | None":
        """For filters, which a sheet can do without; one that was named has to be right."""
        try:
            return self.network
        except ConvscopeError as why:
            if self.model is not None or self.weights is not None:
                raise
            say(f"note: filters are left out: {why}")
            return None


def make_missing(atlas: "Atlas", asked: "Asked", parts: "Sequence[Part]", again: Again, batch: int) -> None:
    """Make what is asked for and not in the atlas yet, and keep it there.

    Raises:
        ConvscopeError: the network or the photos cannot be found, or are others.
    """
    from convscope.atlases.added_pictures import add_deconvs, add_synthetics, lacking
    from convscope.cli.progress import counted

    units = list(dict.fromkeys(unit for part in parts for unit in part.units))
    if asked.deconv and lacking(atlas, units, asked.top):
        source = given.source_of_atlas(atlas, again.data)
        with counted("deconvnet pictures") as step:
            how: dict[str, Any] = {"top": asked.top, "batch": batch, "partial": asked.partial}
            add_deconvs(atlas, again.network, source, units, on_step=step, **how)
    if asked.synthetic:
        with counted("pictures by optimisation") as step:
            add_synthetics(atlas, again.network, units, on_step=step, steps=asked.steps)
