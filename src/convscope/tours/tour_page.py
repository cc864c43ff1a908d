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
from convscope.writing import write_file

# the names in the commands of the page, and what each stands for
STANDS_FOR: Mapping[str, str] = {
    "photo.jpg": "a picture of yours",
    "photos/": "a folder of pictures, sorted into one folder a class where a command trains or surveys",
    "my_net.py:make_net": "your network: a Python file, and in it the function without arguments that returns it",
    "my.run": "a training, as convscope train makes it: its network can be used wherever a network can",
    "my.atlas": "a survey of a data set, as convscope survey makes it",
    "cat, dog": "names of your classes",
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
