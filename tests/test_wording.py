"""How numbers are written."""

import pytest

from convscope.wording import percent


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (0.0, "0.0%"), (1e-9, "<0.1%"), (0.000499, "<0.1%"), (0.0005, "0.1%"), (0.5784, "57.8%"),
        (0.9994, "99.9%"), (0.9995, ">99.9%"), (1 - 1e-9, ">99.9%"), (1.0, "100.0%"),
    ],
)  # fmt: skip
def test_a_probability_is_never_rounded_to_none_or_certain(probability: float, text: str) -> None:
    assert percent(probability) == text
