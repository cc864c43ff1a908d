"""One colour a unit, the same wherever the unit appears, as unlike as so many colours can be.

Hues go round by the golden angle, so that any first few are far apart however many follow (as seeds in a sunflower:
Vogel 1979), and lightness takes three steps in turn. In OKLCH (Ottosson 2020) equal lightness looks equal, so that no
unit is loud because of its colour:

    h_i = 137.5 i + 250 degrees,   L_i in (0.62, 0.47, 0.75),   C = 0.13, less where sRGB has no such colour.

Nobody tells forty colours apart with certainty: a chart that uses them also prints the units' numbers.
"""

import math

import numpy as np

_GOLDEN = 180 * (3 - math.sqrt(5))  # degrees
_FIRST, _LIGHTNESS, _CHROMA = 250.0, (0.62, 0.47, 0.75), 0.13
# Ottosson 2020: OKLab to the cube roots of the cones' answers, and these to linear sRGB
_TO_CONES = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
     [-0.0041960863, -0.7034186147, 1.7076147010]]
)  # fmt: skip


def unit_colours(count: int) -> list[str]:
    """``count`` colours as ``#rrggbb``; the first are the same whatever the count."""
    return [_colour(number) for number in range(count)]


def _colour(number: int) -> str:
    lightness = _LIGHTNESS[number % len(_LIGHTNESS)]
    hue = math.radians(_FIRST + _GOLDEN * number)
    chroma, rgb = _CHROMA, _linear_rgb(lightness, _CHROMA, hue)
    while (rgb.min() < 0 or rgb.max() > 1) and chroma > 0:
        chroma -= 0.005
        rgb = _linear_rgb(lightness, chroma, hue)
    curved = np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * np.maximum(rgb, 0) ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * np.clip(curved, 0, 1)).astype(int).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _linear_rgb(lightness: float, chroma: float, hue: float) -> np.ndarray:
    lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
    return _TO_RGB @ (_TO_CONES @ lab) ** 3
