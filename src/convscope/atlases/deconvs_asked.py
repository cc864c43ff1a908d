"""Deconvnet pictures that a survey is asked for: refused before its pass where a layer cannot have them."""

from collections.abc import Sequence

from convscope.dataset.deconv_patches import refuse_undrawable
from convscope.dataset.image_sources import ImageSource
from convscope.dataset.planning import first_input
from convscope.errors import ConvscopeError
from convscope.network.loading import Network

_WAY_OUT = "survey other layers, or without --deconv: `convscope unit --deconv` adds later what is possible"


def refuse_deconvs(net: Network, source: ImageSource, layers: Sequence[str]) -> None:
    """One image through the network. Raises ConvscopeError as ``refuse_undrawable``, with what to do instead."""
    try:
        refuse_undrawable(net, first_input(net, source), layers)
    except ConvscopeError as error:
        raise ConvscopeError(f"{error}; {_WAY_OUT}") from error
