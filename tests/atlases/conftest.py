"""What most tests of surveys start from."""

from pathlib import Path

import pytest

import convscope as cs
from tests import friendly
from tests.atlases.surveyed import SMALL, photo_folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("data") / "photos", corrupt=7)


@pytest.fixture
def net() -> cs.Network:
    return friendly.network()


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas made without a break. Never written into."""
    out = tmp_path_factory.mktemp("made") / "photos.atlas"
    cs.survey(friendly.network(), photos, out, **SMALL)
    return out
