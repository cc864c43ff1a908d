"""Sheets of pictures by optimisation: a recipe swept through, layers from first to last, pairs, variants.

sweep        rows are targets, columns values of one field of the recipe; the best picture of a row is marked
hierarchy    rows are layers from first to last
both         two outputs at once, between each of them alone
variants     several different pictures of one unit, class...
"""

from convscope.optimised.picture_hierarchy import Hierarchy, hierarchy
from convscope.optimised.picture_pairs import Both, both
from convscope.optimised.picture_sweeps import Sweep, sweep
from convscope.optimised.picture_variants import Variants, variants

__all__ = ["Both", "Hierarchy", "Sweep", "Variants", "both", "hierarchy", "sweep", "variants"]
