"""Animations: how a picture came about, frame after frame, as one file's bytes.

``webp`` keeps all colours and is the smallest that every browser plays; ``gif`` has one palette of 256 colours for all
frames and no dithering, so that what does not move does not flicker; ``mp4`` (H.264, 4:2:0) is for slides and wants the
extra ``video``. The last frame stays for a while: it is the result.
"""

import io
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convscope.errors import ConvscopeError, nearest

ENDINGS = ("webp", "mp4", "gif")
LAST_SECONDS = 2.0
_SAMPLE_PX = 128  # a frame's side where the palette is chosen


def check_ending(ending: str) -> None:
    """Refuse what ``animation`` could not write.

    Raises:
        ConvscopeError: another ending, or mp4 where the package that writes it is not installed.
    """
    if ending not in ENDINGS:
        raise ConvscopeError(f"no animation {ending!r}{nearest(ending, ENDINGS)} (it is {', '.join(ENDINGS)})")
    if ending == "mp4":
        _ffmpeg()


def animation(frames: Sequence[Image.Image], ending: str, *, seconds: int | float) -> bytes:
    """The frames one after another in ``seconds``, then the last one for two more; again and again but in mp4.

    Args:
        frames: RGB, of one size.
        ending: ``"webp"``, ``"mp4"`` (with an even number of rows and columns: the last is repeated) or ``"gif"``.
        seconds: from the first frame to the last.

    Raises:
        ConvscopeError: as ``check_ending``, no frames, frames of several sizes, no time.
    """
    check_ending(ending)
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise ConvscopeError(f"an animation needs frames of one size, not {len(frames)} of {sorted(sizes)}")
    if not seconds > 0:
        raise ConvscopeError(f"an animation of {seconds} seconds: give a number above 0")
    shown = [frame.convert("RGB") for frame in frames]
    each = seconds / len(shown)
    if ending == "mp4":
        return _mp4(shown, 1 / each)
    durations = [round(1000 * each)] * (len(shown) - 1) + [round(1000 * (each + LAST_SECONDS))]
    if ending == "webp":
        return _saved(shown, "WEBP", durations, quality=82, method=2)  # 4 takes twice the time for 4 % less
    return _saved(_one_palette(shown), "GIF", durations, optimize=False, disposal=1)


def _saved(frames: Sequence[Image.Image], form: str, durations: Sequence[int], **options: Any) -> bytes:
    content = io.BytesIO()
    frames[0].save(content, form, save_all=True, append_images=frames[1:], duration=list(durations), loop=0, **options)
    return content.getvalue()


def _one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """The frames in the 256 colours that suit all of them best, the last as much as all others together."""
    small = [frame.resize((_SAMPLE_PX, _SAMPLE_PX)) for frame in frames]
    small += [small[-1]] * len(frames)
    together = Image.fromarray(np.concatenate([np.asarray(frame) for frame in small]))
    palette = together.quantize(256, method=Image.Quantize.MEDIANCUT)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


def _mp4(frames: Sequence[Image.Image], frames_a_second: float) -> bytes:
    even = [_even(frame) for frame in frames]
    (width, height), hold = even[0].size, f"tpad=stop_mode=clone:stop_duration={LAST_SECONDS}"
    given = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        f"{frames_a_second:.6f}",
        "-i",
        "-",
    ]
    made = ["-vf", hold, "-c:v", "libx264", "-crf", "18", "-pix_fmt", "yuv420p"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "animation.mp4"  # no pipe: the index goes to the front, to play before all is loaded
        command = [_ffmpeg(), "-loglevel", "error", *given, *made, "-movflags", "+faststart", str(file)]
        done = subprocess.run(command, input=b"".join(frame.tobytes() for frame in even), capture_output=True)
        if done.returncode != 0:
            raise ConvscopeError(f"ffmpeg cannot write the mp4: {done.stderr.decode(errors='replace')[-300:]}")
        return file.read_bytes()


def _even(frame: Image.Image) -> Image.Image:
    """With its last row and column twice where their number is odd: 4:2:0 halves the colours' size."""
    odd = (frame.height % 2, frame.width % 2)
    return (
        frame
        if odd == (0, 0)
        else Image.fromarray(np.pad(np.asarray(frame), ((0, odd[0]), (0, odd[1]), (0, 0)), "edge"))
    )


def _ffmpeg() -> str:
    try:
        import imageio_ffmpeg  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ConvscopeError(
            "an mp4 needs imageio-ffmpeg, which is not installed: pip install 'convscope[video]'; webp and gif do not"
        ) from None
    return imageio_ffmpeg.get_ffmpeg_exe()
