"""Several explanations on one sheet: methods, classes, layers, models, sizes of the occluding square, many photos.

What is compared is drawn on one scale where that is asked for, or where the comparison makes no sense without it
(two classes, two models). What does not apply to a network stays on the sheet as an empty place with the reason.
"""

from convscope.comparisons.asking import Step
from convscope.comparisons.many_photos import compare_photos
from convscope.comparisons.one_photo import (
    compare_layers,
    compare_methods,
    compare_models,
    compare_squares,
    compare_targets,
)

__all__ = [
    "Step",
    "compare_layers",
    "compare_methods",
    "compare_models",
    "compare_photos",
    "compare_squares",
    "compare_targets",
]
