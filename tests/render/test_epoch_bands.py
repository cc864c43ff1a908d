"""Bands over epochs. Oracles: the colours at computed places, refusals."""

import numpy as np
import pytest

from convscope.errors import ConvscopeError
from convscope.render.epoch_bands import EpochBands, epoch_bands

FLAT = np.tile([-2.0, -1.0, 0.0, 1.0, 2.0], (3, 1))


def column(picture: np.ndarray, share: float) -> np.ndarray:
    """The darkness of a column of pixels, from the top."""
    return 255 - picture[:, round(share * picture.shape[1])].mean(1)


def test_the_inner_band_is_darker_and_half_as_high() -> None:
    drawn = np.asarray(epoch_bands([EpochBands("conv1", "", FLAT)], (0, 1, 2)))
    darkness = column(drawn, 0.7)
    levels, counts = np.unique(darkness.round(), return_counts=True)
    outer, inner = sorted(levels[np.argsort(counts)[-3:]])[1:]  # the third is the white
    assert 0 < outer < inner
    high = {level: counts[levels == level][0] for level in (outer, inner)}
    assert high[inner] == pytest.approx(high[outer], rel=0.15)  # -1 to 1 against 1 to 2 and -2 to -1


def test_a_gap_is_white_and_one_epoch_has_bars() -> None:
    broken = FLAT.copy()
    broken[1] = np.nan
    drawn = np.asarray(epoch_bands([EpochBands("conv1", "", np.concatenate([broken, FLAT]))], (0, 1, 2, 3, 4, 5)))
    inked = [int((column(drawn, share) > 20).sum()) for share in (0.3, 0.8)]
    assert inked[0] < 30 < 150 < inked[1]  # lines of the axis, bands
    one = np.asarray(epoch_bands([EpochBands("conv1", "", FLAT[:1])], (4,)))
    assert (column(one, 0.55) > 30).sum() > 80


def test_rows_are_even_and_names_may_be_anything() -> None:
    charts = [EpochBands(f"{k} 猫 $x$", "1% > 0", FLAT) for k in range(6)]
    sizes = [epoch_bands(charts[:count], (0, 1, 2)).size for count in (1, 3, 4, 6)]
    one = sizes[0]
    assert [(round(w / one[0]), round(h / one[1])) for w, h in sizes] == [(1, 1), (3, 1), (4, 1), (3, 2)]


@pytest.mark.parametrize(
    ("charts", "epochs", "said"),
    [
        ([], (0, 1, 2), "need 5 quantiles"),
        ([EpochBands("a", "", FLAT)], (0, 1), "bands over 2 epochs"),
        ([EpochBands("a", "", np.full((3, 5), np.nan))], (0, 1, 2), "no number of a is finite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(charts: list[EpochBands], epochs: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConvscopeError, match=said):
        epoch_bands(charts, epochs)
