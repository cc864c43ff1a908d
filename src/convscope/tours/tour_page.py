"""The page of a tour: every chapter with its pictures, what to see in them, and the commands; some may be missing.

One HTML file beside the chapters' folders. It links to nothing else, opens from disk and needs no script.
"""

import importlib.resources
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from convscope.stamps import versions
from convscope.tours.chapter import Chapter, Stage
from convscope.tours.tour_folder import PAGE
from convscope.tours.workshop import ATLAS, CAT, PHOTOS_FOLDER, RUN
from convscope.writing import write_file

# in the commands of the page: what is the reader's to change, and into what
STANDS_FOR: Mapping[str, str] = {
    CAT: "a picture of yours; the same for other photos, and for bundled:digits:7",
    PHOTOS_FOLDER: "a folder of your pictures",
    "bundled:digits": "a folder of your pictures, sorted into one folder a class",
    RUN: "--model my_net.py:make_net, where my_net.py is a Python file of yours and make_net the function in it that "
    "returns the network; or --model torchvision:resnet50; or a training, as here",
    ATLAS: "a survey of yours, as convscope survey makes it",
    "relu1": "a layer of your network; convscope layers lists them",
    "bullfrog,tarantula": "names of your classes",
}


def write_page(folder: Path, stages: Sequence[Stage], ready: Mapping[str, Chapter]) -> Path:
    """Write ``index.html``. Raises UnwritableError."""
    import jinja2

    source = (importlib.resources.files("convscope.tours") / "templates" / "tour.html.jinja").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.from_string(source).render(
        chapters=[ready.get(stage.name, stage) for stage in stages],
        ready=list(ready),
        minutes=_minutes(sum((chapter.seconds for chapter in ready.values()), 0.0)),
        stands_for=STANDS_FOR,
        again=shlex.join(["convscope", "demo", "--out", str(folder)]),
        versions=versions(),
    )
    return write_file(folder / PAGE, page.encode())


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"
