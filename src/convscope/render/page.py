"""A page of pictures and facts that is one file: it opens from disk, without the network and without a script."""

import base64
import importlib.resources
import io
from collections.abc import Mapping, Sequence

from PIL import Image


def page_of(
    title: str, pictures: Sequence[Image.Image], facts: Mapping[str, str], stamp: Mapping[str, str | int | None]
) -> str:
    """HTML with the pictures inside, shown at half their pixels (they are drawn for dense screens)."""
    import jinja2

    source = (importlib.resources.files("convscope.render") / "templates" / "page.html.jinja").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)
    shown = [{"data": _encoded(picture), "width": picture.width // 2} for picture in pictures]
    return template.render(title=title, pictures=shown, facts=facts, stamp=stamp)


def _encoded(picture: Image.Image) -> str:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
