"""Tours of a few made-up chapters, which cost nothing, and one of all real chapters with hardly any work in them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from convscope.tours.demo import Tour, tour
from convscope.tours.workshop import Pace
from tests.tours.made_up import MadeUp

# hardly any work: what is drawn means nothing, that it is drawn is what counts
TINY = Pace(
    classes=("bullfrog",), class_steps=1, dream_side=80, dream_steps=1, inverted=("features.1", "features.5"),
    inversion_steps=1, methods=("grad-cam",), digits="bundled:digits/held-out", epochs=1, digit_steps=1,
    embedding="pca",
)  # fmt: skip


@pytest.fixture
def made_up() -> MadeUp:
    return MadeUp()


@pytest.fixture
def walk(made_up: MadeUp, tmp_path: Path) -> Callable[..., Tour]:
    """A tour through the made-up stages, into ``tmp_path / "tour"``."""
    return lambda **options: tour(tmp_path / "tour", stages=made_up.stages, **options)


@pytest.fixture(scope="session")
def told() -> list[tuple[str, int, int]]:
    """What the tour of all chapters says of its steps: (what, done, all)."""
    return []


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, told: list[tuple[str, int, int]]) -> Tour:
    """All real chapters."""
    folder = tmp_path_factory.mktemp("tours") / "convscope-demo"
    return tour(folder, pace=TINY, on_step=lambda *step: told.append(step))
