"""``convscope invert``: what each layer still knows of a picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.invert_asked import Asked, pairs_of
from convscope.cli.outputs import endings_of, model_part, name_part, print_written, save_as, sheets_folder, stems_of
from convscope.cli.running import command, say
from convscope.errors import ConvscopeError

if TYPE_CHECKING:
    from PIL import Image

    from convscope.answers import Seen
    from convscope.cli.kept_work import KeptWork
    from convscope.cli.progress import Parts
    from convscope.cli.sources import Photos
    from convscope.network.loading import Network
    from convscope.optimised.one_inversion import Inversion
    from convscope.results import Shown
    from convscope.synthesis.inversion import Inverting

_HOW, _MODEL, _RUN = "How", "Model", "Run"

Layer = Annotated[
    list[str] | None,
    typer.Option("--layer", "-l", help="One or more, with commas; fully connected ones too. The last map by default."),
]
EveryLayer = Annotated[
    bool,
    typer.Option(
        "--every-layer",
        help="All layers that everything goes through, first to last; a block is one.",
    ),
]
Tv = Annotated[
    str | None,
    typer.Option(
        "--tv",
        rich_help_panel=_HOW,
        show_default="0.5",
        help="Weight of the total variation, against grain, times the pixels a side of a layer's cell. Several, with "
        "commas, give a sheet of strengths x layers.",
    ),
]
Lp = Annotated[
    float | None,
    typer.Option("--lp", rich_help_panel=_HOW, show_default="0.1", help="Weight of the 6-norm, against extremes."),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=0, rich_help_panel=_HOW, show_default="200", help="For each layer.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        rich_help_panel=_HOW,
        show_default="0.2, fourier 0.1",
        help="Adam's first step, which falls.",
    ),
]
ImageKind = Annotated[
    str | None,
    typer.Option(
        "--image",
        rich_help_panel=_HOW,
        show_default="pixels",
        help="What is optimised: pixels or fourier.",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", rich_help_panel=_MODEL, show_default="bundled:tiny50",
        help="torchvision:NAME, timm:NAME, hf:ORG/NAME, package.module:factory, path/file.py:factory, "
        "NAME.run or bundled:tiny50. Repeat it to set networks side by side.",
    ),
]  # fmt: skip
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        rich_help_panel=_MODEL,
        help="A .safetensors or .pt file, or 'random'. Repeat it with --model, in their order; 'own': its own.",
    ),
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, max=2**63 - 1, rich_help_panel=_RUN, help="Of the faint noise at the start.")
]


@command("invert")
def invert(
    path: given.Photos = None,
    demo: given.Demo = False,
    layer: Layer = None,
    every_layer: EveryLayer = False,
    tv: Tv = None,
    lp: Lp = None,
    steps: Steps = None,
    rate: Rate = None,
    image: ImageKind = None,
    out: given.Out = Path("convscope-out"),
    save: given.Save = "png",
    model: Models = None,
    weights: Weights = None,
    classes: opt.Classes = None,
    size: opt.Size = None,
    mean: opt.Mean = None,
    std: opt.Std = None,
    trust_pickle: opt.TrustPickle = False,
    device: opt.Device = None,
    seed: Seed = 0,
    resume: opt.Resume = False,
    as_json: opt.Json = False,
) -> int:
    """Invert layers: draw the picture that a layer cannot tell from yours, with the error that is left.

    [cyan]convscope invert cat.jpg --every-layer[/]                   a strip, and the errors as a curve

    [cyan]convscope invert cat.jpg -l features.5,classifier --tv 0.01,0.1,1,10[/]

    [cyan]convscope invert cat.jpg --every-layer -m torchvision:vgg16 -m torchvision:resnet18[/]
    """
    from convscope.cli.sources import photos_at
    from convscope.network.layers import find_calls

    pairs = pairs_of(list(model or []), list(weights or []))
    strengths = tuple(dict.fromkeys(opt.numbers(tv, "--tv") or ()))
    asked = Asked(tuple(opt.listed(layer, "--layer")), every_layer, strengths, lp, steps, rate, image, seed)
    asked.refuse_contradictions(len(pairs))
    if len(pairs) > 1 and (classes, mean, std) != (None, None, None):
        raise ConvscopeError("--classes, --mean and --std describe one network; leave them out with several --model")
    endings = endings_of(save)
    sheets_folder(out)
    photos = photos_at(path, demo=demo, besides=out)
    nets = [opt.network(m, w, classes, size, mean, std, trust_pickle, device) for m, w in pairs]
    for net in nets:
        find_calls(net.module, asked.layers)
    names = list(_named(nets)) if len(pairs) > 1 else []
    done = _Job(_named(nets), asked, out, endings, name_part(names) if names else model_part(*pairs[0])).run(
        photos, resume
    )
    photos.refuse_if_none()
    print_written(done, as_json=as_json)
    return photos.finish()


def _named(nets: "list[Network]") -> "dict[str, Network]":
    """Networks by their names, with a number where two have the same."""
    names = [net.name.rpartition("/")[2] for net in nets]  # a path is no heading
    numbered = [n if names.count(n) == 1 else f"{n} ({i})" for i, n in enumerate(names, 1)]
    return dict(zip(numbered, nets, strict=True))


@dataclass(frozen=True)
class _Row:
    """Inversions by one network with one setting; ``name`` heads them."""

    name: Any
    net: "Network"
    how: "Inverting"


@dataclass(frozen=True)
class _Job:
    """One run: its inversions, kept while they are made; a sheet a photo, of what is ready if it is stopped."""

    nets: "Mapping[str, Network]"
    asked: Asked
    out: Path
    endings: list[str]
    of_models: str

    @property
    def rows(self) -> list[_Row]:
        hows = self.asked.hows
        if len(self.nets) > 1:
            return [_Row(name, net, hows[0]) for name, net in self.nets.items()]
        return [_Row(how.tv, next(iter(self.nets.values())), how) for how in hows]

    def run(self, photos: "Photos", resume: bool) -> list[dict[str, Any]]:
        from convscope.answers import seen_by
        from convscope.cli.kept_work import kept_work, network_asked
        from convscope.cli.progress import Parts, bar
        from convscope.optimised.interrupted import Interrupted

        stems, parts, done = stems_of(list(photos.names)), Parts(), list[dict[str, Any]]()
        request = {"nets": [network_asked(net) for net in self.nets.values()], "asked": self.asked}

        def one(name: str, photo: "Image.Image") -> dict[str, Any]:
            seen = {row.name: seen_by(row.net, photo) for row in self.rows}
            layers = {key: self._layers(each) for key, each in seen.items()}
            with bar(sum(len(found) for found, _ in layers.values()), name, parts) as step:
                return self._made(name, seen, layers, self.out / stems[name], (work, parts, step))

        with kept_work(self.out, "invert", request, resume=resume) as work:
            try:
                for _, entry in photos.each(one):
                    done.append(entry)
            except KeyboardInterrupt as stopped:
                left = photos.left({entry["image"] for entry in done})
                if isinstance(stopped, Interrupted):
                    names = stopped.missing
                    many = len(photos.names) > 1  # of a folder the photos, of a photo the layers
                    left[:1] = [f"{len(names)} pictures of {left[0]}"] if many else names
                raise Interrupted(None, tuple(left)) from stopped
        return done

    def _layers(self, seen: "Seen") -> tuple[list[str], dict[str, str]]:
        from convscope.network.head import default_layer
        from convscope.optimised.inversions import layers_on_the_path

        if not self.asked.every_layer:
            return list(self.asked.layers or [default_layer(seen.net.module, seen.x)]), {}
        found, left_out = layers_on_the_path(seen.net, seen)
        if not found:
            raise ConvscopeError(f"all features of all layers of {seen.net.name} are zero for this photo")
        return list(found), left_out

    def _made(
        self,
        name: str,
        seen: "Mapping[Any, Seen]",
        layers: Mapping[Any, tuple[list[str], dict[str, str]]],
        stem: Path,
        tools: "tuple[KeptWork, Parts, Any]",
    ) -> dict[str, Any]:
        """All rows of one photo; where they are broken off, what is ready is written before it is told."""
        from convscope.optimised.interrupted import Interrupted, UnfinishedError
        from convscope.optimised.inversions import invert as make
        from convscope.stamps import pixels_hash

        work, parts, step = tools
        ready: dict[Any, list[Inversion]] = {}
        missing = {row.name: list(layers[row.name][0]) for row in self.rows}
        left_out = {layer: why for _, out in layers.values() for layer, why in out.items()}
        for number, row in enumerate(self.rows):
            key = f"{name} {pixels_hash(seen[row.name].image)} {number} "
            try:
                made = make(
                    row.net, seen[row.name], layers[row.name][0], keeper=work, key=key,
                    on_layer=step, on_step=parts, **self.asked.options_of(row.how),
                )  # fmt: skip
            except (Interrupted, UnfinishedError) as stopped:
                ready[row.name] = list(stopped.ready.values())
                missing[row.name] = list(stopped.missing)
                self._leave(name, ready, left_out, missing, stem)
                if isinstance(stopped, Interrupted):
                    raise Interrupted(None, self._names(missing)) from stopped
                raise
            ready[row.name] = list(made.values())
            missing.pop(row.name)
        return self._write(name, self._figure(ready, left_out, {}), stem)

    def _leave(self, name: str, ready: Any, left_out: Any, missing: "Mapping[Any, list[str]]", stem: Path) -> None:
        if not any(ready.values()):
            return
        entry = self._write(name, self._figure(ready, left_out, missing), stem)
        say(f"{name}: what is ready is in {', '.join(entry['files'])}")

    def _names(self, missing: "Mapping[Any, list[str]]") -> tuple[str, ...]:
        heading = {row.name: row.name if len(self.nets) > 1 else f"TV {row.how.tv:g}" for row in self.rows}
        several = len(self.rows) > 1
        return tuple(f"{heading[row]} {name}" if several else name for row, names in missing.items() for name in names)

    def _figure(
        self, ready: "dict[Any, list[Inversion]]", left_out: dict[str, str], missing: Mapping[Any, list[str]]
    ) -> "Shown":
        from convscope.optimised import inversion_sheets as sheets

        several = len(self.rows) > 1
        not_made = self._names(missing)
        if len(self.nets) > 1:
            return sheets.networks(ready, left_out=left_out, missing=not_made)
        if several:
            return sheets.strengths(ready, left_out=left_out, missing=not_made)
        (row,) = ready.values()
        if len(row) == 1 and not not_made and not self.asked.every_layer:
            return row[0]
        return sheets.strip(row, left_out=left_out, missing=not_made)

    def _write(self, name: str, figure: "Shown", stem: Path) -> dict[str, Any]:
        from convscope.optimised.one_inversion import Inversion

        kind = self.asked.kind(self.of_models)
        files = save_as(figure, stem.with_name(f"{stem.name}.{kind}"), self.endings)
        about: Any = figure
        if isinstance(figure, Inversion):
            return {"image": name, "files": files, "layers": [about.as_json()], "left_out": {}, "missing": []}
        for layer, why in about.left_out.items():
            say(f"{name}: note: {layer} left out: {why}")
        return {"image": name, "files": files, **about.as_json()}
