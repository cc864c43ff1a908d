"""``convscope export``: an atlas's tables for other programs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from convscope.cli import options as opt
from convscope.cli.running import command
from convscope.errors import ConvscopeError


@command("export")
def export(
    path: Annotated[Path, typer.Argument(metavar="NAME.atlas", help="An atlas that survey made.")],
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FOLDER", help="A CSV file a table.")] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FOLDER", help="A Parquet file a table; needs pyarrow.")
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """Export an atlas: units, exemplars, images, classes and the rest as plain tables.

    [cyan]convscope export photos.atlas --csv tables[/]
    """
    if csv is None and parquet is None:
        raise ConvscopeError("say where to: --csv FOLDER or --parquet FOLDER")
    from convscope.atlases import exporting
    from convscope.store.atlas import open_atlas

    atlas = open_atlas(path)
    asked = [(form, folder) for form, folder in (("parquet", parquet), ("csv", csv)) if folder is not None]
    files = [str(file) for form, folder in asked for file in exporting.export(atlas, folder, form)]
    if as_json:
        print(json.dumps(files, indent=1, ensure_ascii=False))
        return
    for file in files:
        print(file)
