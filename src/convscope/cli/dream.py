"""``convscope dream``: DeepDream, of pictures and of noise."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convscope.cli import explain_options as given
from convscope.cli import options as opt
from convscope.cli.dream_asked import Asked
from convscope.cli.films import check_film, film_at, write_film
from convscope.cli.outputs import endings_of, model_part, print_written, save_as, sheets_folder, stems_of
from convscope.cli.running import command, say

if TYPE_CHECKING:
    from PIL import Image

    from convscope.cli.kept_work import KeptWork
    from convscope.cli.progress import Parts
    from convscope.cli.sources import Photos
    from convscope.network.loading import Network
    from convscope.optimised.dreams import Dream

_HOW, _RUN = "How", "Run"
FILM_SECONDS = 4.0

Noise = Annotated[bool, typer.Option("--noise", help="Begin with noise, not with a picture.")]
Layer = Annotated[
    list[str] | None,
    typer.Option(
        "--layer", "-l", help="One or more, with commas: a dream each.", show_default="the last but the coarsest maps"
    ),
]
Units = Annotated[
    list[str] | None,
    typer.Option(
        "--unit", "-u", metavar="LAYER:UNITS", help="LAYER:3, LAYER:3,7 or LAYER:0-15: all in one dream. Repeatable."
    ),
]
Classes = Annotated[
    list[str] | None,
    typer.Option("--class", "-c", metavar="NAME", help="A class by name or number, by its logit. Repeatable."),
]
Guide = Annotated[
    Path | None, typer.Option("--guide", metavar="IMAGE", help="Dream this picture's features at --layer.")
]
Octaves = Annotated[
    int | None,
    typer.Option("--octaves", min=1, max=64, rich_help_panel=_HOW, show_default="4", help="Sizes, from small to full."),
]
Scale = Annotated[
    float | None,
    typer.Option("--octave-scale", rich_help_panel=_HOW, show_default="1.4", help="From one size to the next."),
]
Steps = Annotated[
    int | None, typer.Option("--steps", min=0, rich_help_panel=_HOW, show_default="10", help="In each octave.")
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", rich_help_panel=_HOW, show_default="1.5", help="Mean change in a step, in 255 grey levels."),
]
Jitter = Annotated[
    int | None,
    typer.Option("--jitter", min=0, rich_help_panel=_HOW, show_default="32", help="Largest shift of a step in pixels."),
]
Side = Annotated[
    int | None,
    typer.Option(
        "--side", min=1, rich_help_panel=_HOW, show_default="512, or the network's own size for classes",
        help="Longest side of the dream in pixels; pictures are never enlarged to it.",
    ),
]  # fmt: skip
Bare = Annotated[bool, typer.Option("--bare", help="Also write the dream alone, in its own pixels.")]
Animate = Annotated[
    str | None,
    typer.Option(
        "--animate", metavar="FILE", help="Also the way there: a .webp, .mp4 or .gif file; only the ending (webp) puts "
        "it beside the sheet.",
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, max=2**63 - 1, rich_help_panel=_RUN, help="Of jitter and noise.", show_default="0"),
]


@command("dream")
def dream(
    path: given.Photos = None,
    demo: given.Demo = False,
    noise: Noise = False,
    layer: Layer = None,
    unit: Units = None,
    class_: Classes = None,
    guide: Guide = None,
    octaves: Octaves = None,
    octave_scale: Scale = None,
    steps: Steps = None,
    rate: Rate = None,
    jitter: Jitter = None,
    side: Side = None,
    bare: Bare = False,
    animate: Animate = None,
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
    seed: Seed = None,
    resume: opt.Resume = False,
    as_json: opt.Json = False,
) -> int:
    """Dream: change a picture so that a layer, a unit or a class says more of what it sees in it already.

    [cyan]convscope dream cat.jpg --layer features.13[/]

    [cyan]convscope dream cat.jpg --guide flowers.jpg[/]          another picture's features

    [cyan]convscope dream --noise --unit features.18:3,7 --bare[/]
    """
    from convscope.network.layers import find_calls
    from convscope.network.pictures import read_image

    asked = Asked(
        tuple(opt.listed(layer, "--layer")), tuple(unit or ()), tuple(class_ or ()), guide,
        octaves, octave_scale, steps, rate, jitter, side, seed,
    )  # fmt: skip
    asked.refuse_contradictions(noise=noise, has_photos=demo or path is not None)
    endings = endings_of(save)
    sheets_folder(out)
    led_by = None if guide is None else read_image(guide)
    photos = _photos(path, demo, noise, out)
    check_film(animate, results=len(photos.names) * len(asked.subjects))
    net = opt.network(model, weights, classes, size, mean, std, trust_pickle, device)
    find_calls(net.module, asked.layers)
    done = _Job(net, asked, led_by, noise, out, endings, bare, animate, model_part(model, weights)).run(photos, resume)
    photos.refuse_if_none()
    print_written(done, as_json=as_json)
    return photos.finish()


def _photos(path: Path | None, demo: bool, noise: bool, out: Path) -> "Photos":
    """The photos; with ``--noise`` one that is none."""
    from PIL import Image

    from convscope.cli.sources import Photos, photos_at

    if noise:
        return Photos(Path(), {"noise": lambda: Image.new("RGB", (1, 1))}, False)
    return photos_at(path, demo=demo, besides=out)


@dataclass(frozen=True)
class _Job:
    """One run: its dreams, kept while they are made, each written when it is done."""

    net: "Network"
    asked: Asked
    guide: "Image.Image | None"
    noise: bool
    out: Path
    endings: list[str]
    bare: bool
    animate: str | None
    of_model: str

    def run(self, photos: "Photos", resume: bool) -> list[dict[str, Any]]:
        from convscope.cli.kept_work import kept_work, network_asked
        from convscope.cli.progress import Parts, bar
        from convscope.optimised.interrupted import Interrupted

        stems, parts, done = stems_of(list(photos.names)), Parts(), list[dict[str, Any]]()
        request = {"net": network_asked(self.net), "asked": self.asked, "noise": self.noise, "guide": self._guide_hash}
        missing = [dream for name in photos.names for dream in self.asked.names(name)]

        def one(name: str, photo: "Image.Image") -> list[dict[str, Any]]:
            figures = []
            for subject, dream in zip(self.asked.subjects, self.asked.names(name), strict=True):
                step(f"{name}: {subject.get('layer') or ' '.join(subject.get('unit', ['default layer']))}")
                figures.append(self._made(name, photo, subject, self.out / stems[name], work, parts))
                missing.remove(dream)
            return figures

        with (
            kept_work(self.out, "dream", request, resume=resume) as work,
            bar(len(missing), "dream", parts) as step,
        ):
            try:
                for _, figures in photos.each(one):
                    done += figures
            except KeyboardInterrupt as stopped:
                raise Interrupted(None, tuple(missing)) from stopped
        return done

    @property
    def _guide_hash(self) -> str:
        from convscope.stamps import pixels_hash

        return "" if self.guide is None else pixels_hash(self.guide)

    def _made(
        self, name: str, photo: "Image.Image", subject: dict[str, Any], stem: Path, work: "KeptWork", parts: "Parts"
    ) -> dict[str, Any]:
        from convscope.optimised.dreams import dream as make
        from convscope.stamps import pixels_hash

        frames: list[Image.Image] = []
        made = make(
            self.net, None if self.noise else photo, **subject, guide=self.guide, **self.asked.options,
            keeper=work, key=f"{name} {pixels_hash(photo)} {subject}", on_step=parts,
            on_frame=frames.append if self.animate else None,
        )  # fmt: skip
        return self._write(name, made, stem, frames)

    def _write(self, name: str, made: "Dream", stem: Path, frames: "list[Image.Image]") -> dict[str, Any]:
        for note in made.notes:
            say(f"{name}: note: {note}")
        stem = stem.with_name(".".join(part for part in (stem.name, self.asked.kind(made), self.of_model) if part))
        files = save_as(made, stem, self.endings)
        if self.bare:
            pictures = [ending for ending in self.endings if ending not in ("html", "npz")] or ["png"]
            files += [str(made.save_image(stem.with_name(f"{stem.name}.bare.{ending}"))) for ending in pictures]
        files += self._film(name, made, stem, frames)
        return {"image": name, "files": files, **made.as_json()}

    def _film(self, name: str, made: "Dream", stem: Path, frames: "list[Image.Image]") -> list[str]:
        """The animation, if one was asked for: of the pictures that this run made."""
        if not self.animate:
            return []
        if not frames:
            say(f"{name}: note: no animation: this dream was finished before, and its steps are not kept")
            return []
        every = len(made.octaves) * (made.options["steps"] + 1)
        if len(frames) < every:
            first = every - len(frames) + 1
            say(f"{name}: note: the animation begins at picture {first} of {every}, where it was stopped")
        return [write_film(film_at(self.animate, stem), frames, seconds=FILM_SECONDS)]
