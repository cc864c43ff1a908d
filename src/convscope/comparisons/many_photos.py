"""Many photos on one sheet, a row each: photos x methods, or photos x layers."""

from collections.abc import Mapping, Sequence

from convscope.answers import Photo, seen_by
from convscope.api import explain
from convscope.comparisons.asking import NO_OPTIONS, Options, Step, check_target, options_of, refuse_nothing
from convscope.comparisons.placing import photo_tile, shared_scale, stamp_of
from convscope.errors import ConvscopeError
from convscope.network.loading import Network
from convscope.network.targets import Target
from convscope.render.scale import Scale
from convscope.render.tile import Tile
from convscope.results import Comparison, Explanation, Prediction


def compare_photos(
    net: Network,
    photos: Mapping[str, Photo],
    columns: Sequence[str],
    *,
    by: str = "method",
    method: str = "grad-cam",
    target: Target = None,
    targets: Mapping[str, Target] | None = None,
    layer: str | None = None,
    shared: bool = False,
    skip_refused: bool = False,
    options: Options = NO_OPTIONS,
    title: str = "",
    step: Step = lambda _: None,
) -> Comparison:
    """Photos x methods (``by="method"``) or photos x layers (``by="layer"``), a row a photo.

    ``targets``: one for each photo, by its name, in place of the one for all. ``shared``: one scale a column.
    ``skip_refused`` leaves an empty place, with the reason, where a method does not apply.
    """
    if not photos:
        raise ConvscopeError("no photo to compare: give at least one")
    answers: dict[str, Prediction] = {}
    cells: dict[tuple[str, str], Explanation] = {}
    left_out: dict[str, str] = {}
    for name, photo in photos.items():
        seen = seen_by(net, photo)
        answers[name] = seen.answer
        aim = target if targets is None else targets[name]
        if skip_refused:
            check_target(seen, aim)
        for column in columns:
            step(f"{name}: {column}")
            used, where = (column, layer) if by == "method" else (method, column)
            try:
                given = options_of(used, aim, where, options, mixed=by == "method" and len(columns) > 1)
                cells[name, column] = explain(net, seen, used, **given)
            except ConvscopeError as error:
                if not skip_refused:
                    raise
                left_out[column] = str(error)
    found = {f"{name}|{column}": one for (name, column), one in cells.items()}
    refuse_nothing(net, found, left_out)
    rows = _rows(answers, columns, cells, left_out, shared=shared)
    title = title or f"{len(rows)} photos x {len(columns)} {by}s"
    headings = ("photo", *columns)
    return Comparison(title, net.name, rows, found, left_out, stamp_of(found.values()), tuple(photos), headings)


def _rows(
    answers: Mapping[str, Prediction],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Explanation],
    left_out: Mapping[str, str],
    *,
    shared: bool,
) -> tuple[tuple[Tile, ...], ...]:
    scales: dict[str, Scale] = {}
    for column in columns if shared else ():
        if maps := [one for (_, c), one in cells.items() if c == column]:
            scales[column] = shared_scale(maps)

    def tile(name: str, column: str) -> Tile:
        one = cells.get((name, column))
        if one is None:
            return Tile(None, "", "does not apply", warning=left_out[column])
        return one.tile(scales.get(column), caption="", note=one.target)

    return tuple(
        (photo_tile(seen, caption=""), *(tile(name, column) for column in columns)) for name, seen in answers.items()
    )
