"""Every attribution method by its name: what it is, what it claims, where it fails.

Command line, documentation and pages are made from this table, so that a method added to ``catalogue/`` is known
everywhere.
"""

from collections.abc import Mapping
from types import MappingProxyType

from convscope.attribution.catalogue.gradient_methods import GRADIENT_METHODS
from convscope.attribution.catalogue.map_methods import MAP_METHODS
from convscope.attribution.catalogue.perturbation_methods import PERTURBATION_METHODS
from convscope.attribution.method import Method
from convscope.errors import ConvscopeError, nearest

METHODS: Mapping[str, Method] = MappingProxyType(
    {method.name: method for method in (*GRADIENT_METHODS, *MAP_METHODS, *PERTURBATION_METHODS)}
)


def find_method(name: str) -> Method:
    """The method called ``name``; underscores and hyphens are alike, and so are ``grad_cam_pp`` and ``grad-cam++``.

    Raises:
        ConvscopeError: no such method; the message has the nearest names.
    """
    found = METHODS.get(name) or METHODS.get(name.replace("_", "-").replace("-pp", "++"))
    if found is None:
        raise ConvscopeError(f"no method {name!r}{nearest(name, METHODS)} (all: {', '.join(METHODS)})")
    return found
