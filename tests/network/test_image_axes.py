"""Where the image's axes lie, against the coordinates themselves carried through the same operation."""

import math

import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from convscope.network.image_axes import Place, viewed, with_dimension, without_dimension

sizes = st.integers(1, 6)


def coordinates(shape: tuple[int, ...], dim: int) -> Tensor:
    """A tensor that holds, everywhere, its index along ``dim``."""
    index = torch.arange(shape[dim]).view(-1, *[1] * (-dim - 1))
    return index.expand(shape)


def told(place: Place, shape: tuple[int, ...]) -> Tensor:
    """The coordinates that a place tells."""
    return coordinates(shape, place.dim) // place.inner % place.size


@st.composite
def factorisations(draw: st.DrawFn, total: int) -> tuple[int, ...]:
    factors: list[int] = []
    for _ in range(draw(st.integers(0, 3))):
        factors.append(draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0])))
        total //= factors[-1]
    return tuple(draw(st.permutations([*factors, total])))


@given(data=st.data(), before=st.lists(sizes, min_size=1, max_size=4).map(tuple), inner=st.integers(1, 3))
def test_a_view_keeps_the_coordinate_or_loses_it(data, before, inner):
    """Oracle: every place there is, tried out."""
    dim = data.draw(st.integers(-len(before), -1))
    assume(before[dim] % inner == 0)
    place = Place(dim, inner, before[dim] // inner)
    after = data.draw(factorisations(math.prod(before)))
    expected = told(place, before).reshape(after)
    found = viewed(place, before, after)
    if found is None:
        possible = [
            Place(d, i, place.size) for d in range(-len(after), 0) for i in range(1, after[d] + 1) if place.size > 1
        ]
        assert not any(torch.equal(told(other, after), expected) for other in possible)
    else:
        assert torch.equal(told(found, after), expected)


def test_an_axis_of_one_unit_stays_where_it_is():
    assert viewed(Place(-1, 1, 1), (2, 3, 1, 1), (2, 3, 1, 1)) == Place(-1, 1, 1)
    assert viewed(Place(-2, 1, 1), (2, 3, 1, 1), (6, 1, 1)) == Place(-2, 1, 1)
    assert viewed(Place(-2, 1, 1), (2, 3, 1, 1), (2, 3)) is None
    assert viewed(Place(-1, 1, 1), (0, 1), (1, 0)) is None


@given(data=st.data(), shape=st.lists(sizes, min_size=2, max_size=4).map(tuple))
def test_dimensions_that_come_and_go(data, shape):
    """Oracle: select and unsqueeze of the coordinates."""
    dim, other = data.draw(st.permutations(range(-len(shape), 0)))[:2]
    place = Place(dim, 1, shape[dim])
    gone = coordinates(shape, dim).select(other, 0)
    assert torch.equal(told(without_dimension(place, other), tuple(gone.shape)), gone)
    new = data.draw(st.integers(-len(shape) - 1, -1))
    more = coordinates(shape, dim).unsqueeze(new)
    assert torch.equal(told(with_dimension(place, new), tuple(more.shape)), more)
