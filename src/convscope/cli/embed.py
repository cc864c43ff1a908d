"""``convscope embed``: the images of a data set as points, near each other where a layer says much the same of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.outputs import data_part, endings_of, model_part, name_part, save_as, sheets_folder
from convscope.cli.running import DONE, SKIPPED, command, say, say_skipped
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from convscope.atlases.embedding_sheets import Embedding

_LAYOUT, _DATA = "Layout", "Data"
_METHODS = ("pca", "t-sne", "umap")
Batch = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=1,
        max=1024,
        rich_help_panel="Run",
        show_default="16",
        help="Photos in one pass; bounds the memory. An atlas needs none.",
    ),
]


@command("embed")
def embed(
    data: Annotated[
        str,
        typer.Argument(
            metavar="NAME.atlas|DATA", help="An atlas; or a folder or archive of photos, hf:NAME, bundled:digits."
        ),
    ],
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", "-l", help="One or more, with commas: a sheet each. The last by default."),
    ] = None,
    method: Annotated[str, typer.Option("--method", help="pca, t-sne or umap.")] = "t-sne",
    perplexity: Annotated[
        float | None,
        typer.Option(
            "--perplexity",
            rich_help_panel=_LAYOUT,
            show_default="30, or a third of few images",
            help="Of t-SNE: about how many neighbours an image has.",
        ),
    ] = None,
    neighbours: Annotated[
        int | None,
        typer.Option(
            "--neighbours",
            rich_help_panel=_LAYOUT,
            show_default="15",
            help="Of UMAP: how many of each image it looks at.",
        ),
    ] = None,
    min_distance: Annotated[
        float | None,
        typer.Option(
            "--min-distance", rich_help_panel=_LAYOUT, show_default="0.1", help="Of UMAP: how close points may come."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**32 - 1, rich_help_panel="Run", help="Of t-SNE and UMAP.")
    ] = 0,
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels",
            rich_help_panel=_DATA,
            show_default="auto",
            help="Where photos' classes are: folders, names, groups (any folders), none, or auto. An atlas has them.",
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most", min=1, rich_help_panel=_DATA, show_default="4096", help="A sample of at most so many photos."
        ),
    ] = None,
    moved: Annotated[
        str | None,
        typer.Option("--data", metavar="PLACE", rich_help_panel=_DATA, help="Where the photos of an atlas are now."),
    ] = None,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails/--no-thumbnails", help="The same page in small pictures beside the points.")
    ] = True,
    out: given.Out = Path("convscope-out"),
    save: given.Save = "png",
    model: opt.Model = None,
    weights: opt.Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    batch: Batch = None,
    as_json: opt.Json = False,
) -> int:
    """Lay out images by what a layer says of them: by PCA, t-SNE or UMAP of its pooled activations.

    Points by class, and the same page in thumbnails. Of an atlas the features are there already.

    [cyan]convscope embed NAME.atlas --layer layer3[/]

    [cyan]convscope embed photos --layer features.18 --method pca[/]
    """
    layout = _layout(method, perplexity, neighbours, min_distance, seed)
    endings = endings_of(save)
    sheets_folder(out)
    is_atlas = (Path(data) / "manifest.json").is_file() or Path(data).suffix == ".atlas"
    asked: dict[str, Any] = {"method": method, "thumbnails": thumbnails, "on_note": _note, **layout}
    if is_atlas:
        by_pass = {
            "--model": model, "--weights": weights, "--classes": classes, "--size": size, "--mean": mean, "--std": std,
            "--trust-pickle": trust_pickle or None, "--device": device, "--batch": batch, "--labels": labels,
            "--most": most,
        }  # fmt: skip
        _refuse(by_pass, f"{data} is an atlas, which has its features and classes already")
        _refuse({} if thumbnails else {"--data": moved}, "--no-thumbnails looks at no photo")
        found = _of_atlas(Path(data), opt.listed(layer, "--layer"), moved, asked)
    else:
        _refuse({"--data": moved}, f"{data} is no atlas: it is the data itself")
        net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
        given_here = {"labels": labels, "most": most, "batch": batch}
        asked |= {name: value for name, value in given_here.items() if value is not None}
        found = _of_data(net, data, opt.listed(layer, "--layer"), asked)
    stem = ".".join(part for part in (data_part(data), model_part(model, weights)) if part)
    done = [_write(one, out / stem, endings, layout) for one in found]
    _print(found, done, as_json=as_json)
    left_out = {name: why for one in found for name, why in one.left_out.items()}
    for name, why in left_out.items():
        say_skipped(name, why)
    return SKIPPED if left_out else DONE


def _layout(
    method: str, perplexity: float | None, neighbours: int | None, min_distance: float | None, seed: int
) -> dict[str, Any]:
    """The options of the method, and nothing of another's."""
    from convscope.errors import nearest

    if method not in _METHODS:
        raise ConvscopeError(f"--method {method!r} is none of {', '.join(_METHODS)}{nearest(method, _METHODS)}")
    owners = {
        "perplexity": ("t-sne", perplexity),
        "neighbours": ("umap", neighbours),
        "min_distance": ("umap", min_distance),
    }
    for name, (owner, value) in owners.items():
        if value is not None and owner != method:
            raise ConvscopeError(f"--{name.replace('_', '-')} is of {owner}, not of {method}: leave it out")
    if method == "pca" and seed:
        raise ConvscopeError("--seed changes nothing of pca: leave it out")
    return {name: value for name, (_, value) in owners.items() if value is not None} | ({"seed": seed} if seed else {})


def _refuse(options: Mapping[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConvscopeError(f"{why}: leave out {name}")


def _note(text: str) -> None:
    say(f"note: {text}")


def _of_atlas(path: Path, layers: list[str], moved: str | None, asked: dict[str, Any]) -> "list[Embedding]":
    from convscope.atlases.embeddings import embed_atlas
    from convscope.store.atlas import open_atlas

    atlas = open_atlas(path)
    for name in layers:
        atlas.layer(name)  # a misspelt one is refused before another is laid out
    return [embed_atlas(atlas, name, data=moved, **asked) for name in layers or [None]]


def _of_data(net: Any, data: str, layers: list[str], asked: dict[str, Any]) -> "list[Embedding]":
    from convscope.atlases.embeddings import embed_layers
    from convscope.cli.progress import counted

    with counted("embed") as on_step:
        return list(embed_layers(net, data, layers, on_step=on_step, **asked).values())


def _write(one: "Embedding", stem: Path, endings: list[str], layout: Mapping[str, Any]) -> dict[str, Any]:
    options = [f"{name.replace('_', '-')}-{value:g}" for name, value in layout.items()]
    name = ".".join([stem.name, name_part([one.layer]), one.projection.method, *options])
    return {**one.as_json(), "files": save_as(one, stem.with_name(name), endings)}


def _print(found: "list[Embedding]", done: list[dict[str, Any]], *, as_json: bool) -> None:
    from rich.text import Text

    from convscope.cli.tables import new_table, print_table

    if as_json:
        print(json.dumps(done, indent=1, ensure_ascii=False))
        return
    table = new_table()
    for heading in ("layer", "method"):
        table.add_column(heading)
    for heading in ("images", "classes", "alike in the layer", "on the page"):
        table.add_column(heading, justify="right")
    for one in found:
        alike = ("", "") if one.alike is None else tuple(f"{100 * share:.1f}%" for share in one.alike)
        counts = f"{len(one.images):,}", f"{len(one.named)}"
        table.add_row(Text(one.layer), Text(one.projection.facts["method"]), *counts, *alike)
    files = [file for entry in done for file in entry["files"]]
    about = "alike: the share of an image's 10 nearest that are of its class"
    print_table(table, below=[*([about] if any(one.alike for one in found) else []), *files])
