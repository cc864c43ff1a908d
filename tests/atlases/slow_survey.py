"""One small data set twice: surveyed as users do it, and computed the slow way (``fake_atlas``), to compare."""

from pathlib import Path

from convscope.atlases.surveying import survey
from convscope.network.pictures import read_image
from convscope.store.atlas import Atlas
from tests import friendly, nets
from tests.atlases.fake_atlas import FakeAtlas
from tests.atlases.surveyed import photo_folder

LAYERS = ("conv1", "relu2")  # of nets.gap_linear
RIGHT = {"crane": (3, 4), "king penguin": (1,), "tabby": (0,)}  # of friendly.CLASSES


def both(folder: Path, count: int = 24) -> tuple[Atlas, FakeAtlas]:
    """The atlas and its oracle, over ``count`` photos of three classes, one of which the network has twice."""
    photos = photo_folder(folder / "photos", count)
    net = friendly.network(nets.gap_linear)
    atlas = survey(net, photos, folder / "small.atlas", list(LAYERS), patterns=list(LAYERS), batch=5, shard=7, top=3)
    names = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.png"))
    read = {name: (read_image(photos / name), name.split("/")[0]) for name in names}
    return atlas, FakeAtlas(net, read, LAYERS, right=RIGHT, data=str(photos))
