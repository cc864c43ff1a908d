"""The digits in the box. Oracles: scikit-learn's own pixels, Keys' cubic written out, counts by hand."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import convscope as cs
from convscope.errors import ConvscopeError
from convscope.network.digit_pictures import digit_ids, digit_image, digit_picture, is_digit_picture, part_named

SCANS = load_digits()


def enlarging() -> np.ndarray:
    """(28, 8): Keys 1981, eq. 4 with a = -1/2, the weights of each output pixel brought to the sum 1 at the border."""
    centres = (np.arange(28) + 0.5) * 8 / 28 - 0.5
    d = np.abs(centres[:, None] - np.arange(8))
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    weights = np.where(d < 1, near, np.where(d < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


def pixels(name: str) -> np.ndarray:
    return np.asarray(digit_image(name), np.float64)


def number(name: str) -> int:
    return int(name[2:6])


def test_every_digit_is_scikit_learns_enlarged() -> None:
    """Oracle: the cubic written out, clipped to 0..255; half a level for the rounding and a little for float32."""
    up = enlarging()
    for name in digit_ids():
        expected = (up @ SCANS.images[number(name)] * (255 / 16) @ up.T).clip(0, 255)
        np.testing.assert_allclose(pixels(name), expected, atol=0.51, err_msg=name)


@pytest.mark.parametrize("name", digit_ids()[::300])
def test_scikit_learns_values_come_back_by_the_inverse(name: str) -> None:
    """Least squares over the pixels that were not clipped: what these fix, however they were rounded, is as it was."""
    rows = np.kron(enlarging(), enlarging()) * (255 / 16)
    seen = pixels(name).ravel()
    kept = (seen > 0) & (seen < 255)
    inverse = np.linalg.pinv(rows[kept], rcond=1e-2)
    is_fixed = np.diag(inverse @ rows[kept]) > 1 - 1e-6
    is_fixed &= np.abs(inverse).sum(1) * 0.5 < 0.5  # half a level in each pixel does not change the integer
    found = inverse @ seen[kept]
    assert is_fixed.sum() >= 8
    np.testing.assert_array_equal(found[is_fixed].round(), SCANS.images[number(name)].ravel()[is_fixed])


def test_ids_are_class_and_place_in_scikit_learns_data() -> None:
    ids = digit_ids()
    assert sorted(map(number, ids)) == list(range(1797))
    assert all(int(name[0]) == SCANS.target[number(name)] for name in ids)
    assert list(ids) == sorted(ids)


def test_the_held_out_part_is_every_fourth_of_each_class() -> None:
    """Disjoint, together all, a quarter of each class (rounded down), and the same for everybody, for ever."""
    train, held = digit_ids("train"), digit_ids("held-out")
    assert not set(train) & set(held)
    assert sorted(train + held) == list(digit_ids())
    counts = np.bincount(SCANS.target)
    assert Counter(int(name[0]) for name in held) == {digit: count // 4 for digit, count in enumerate(counts)}
    assert held[:3] == ("0/0030.png", "0/0055.png", "0/0101.png")
    assert [*np.flatnonzero(SCANS.target == 0)[3::4][:3]] == [30, 55, 101]
    assert hashlib.sha256("\n".join(held).encode()).hexdigest()[:16] == "b22becb3c9f6c766"


def test_a_picture_by_its_class_is_the_first_that_is_held_out() -> None:
    name, image = digit_picture("bundled:digits:7")
    assert name == next(name for name in digit_ids("held-out") if name[0] == "7")
    assert image.tobytes() == digit_picture(f"bundled:digits/{name}")[1].tobytes()


def test_read_image_gives_the_digit_in_colour_and_its_luma_is_the_digit_again() -> None:
    """A network of one channel takes the luma: of equal channels it is that one, to the last bit."""
    photo = cs.read_image("bundled:digits:4")
    _, grey = digit_picture("bundled:digits:4")
    assert photo.mode == "RGB"
    assert photo.convert("L").tobytes() == grey.tobytes()
    assert cs.read_image(photo).tobytes() == photo.tobytes()


def test_what_is_many_and_what_is_one() -> None:
    assert part_named("bundled:digits") is None
    assert part_named("bundled:digits/held-out") == "held-out"
    assert is_digit_picture("bundled:digits:7")
    assert is_digit_picture("bundled:digits/7/0041.png")
    assert not is_digit_picture("bundled:digits/train")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bundled:digits:x", "no digit 'x' in bundled:digits; there are bundled:digits:0 to bundled:digits:9"),
        ("bundled:digits/9/0000.png", "no digit '9/0000.png' in bundled:digits; did you mean '9/0009.png'"),
        ("bundled:digit:7", "no 'bundled:digit:7' in the box; did you mean 'bundled:digits'"),
        ("bundled:tiny50", "bundled:tiny50 is a model, no data; the data in the box is bundled:digits"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(given: str, said: str) -> None:
    with pytest.raises(ConvscopeError) as error:
        cs.read_image(given)
    assert said in str(error.value)


def test_many_digits_are_no_picture_and_one_is_no_data() -> None:
    with pytest.raises(ConvscopeError, match=r"held-out.*ids are like 0/0000.png"):
        cs.read_image("bundled:digits/held-out")
    with pytest.raises(ConvscopeError, match=r"no 'bundled:digits:7' in the box; .*there are bundled:digits"):
        part_named("bundled:digits:7")


def test_pictures_are_of_28_pixels_grey_and_white_on_black() -> None:
    """Each has paper at 0 somewhere, and ink above half: no scan is empty."""
    for name in digit_ids()[::100]:
        image = digit_image(name)
        assert (image.mode, image.size) == ("L", (28, 28))
        assert image.getextrema()[0] == 0
        assert image.getextrema()[1] > 128
    assert isinstance(image, Image.Image)
