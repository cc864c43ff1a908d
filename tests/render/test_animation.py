"""Animations are read back by Pillow and ffmpeg: frames, times, colours."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.errors import ConvscopeError
from convscope.render.animation import LAST_SECONDS, animation, check_ending


def moving(count: int = 5, size: tuple[int, int] = (48, 32)) -> list[Image.Image]:
    """A smooth ramp of colours with a white bar that moves."""
    frames = []
    for number in range(count):
        y, x = np.mgrid[: size[1], : size[0]]
        pixels = np.stack([x * 4, y * 6, np.full_like(x, 90)], -1).clip(0, 255).astype(np.uint8)
        pixels[:, number * 6 : number * 6 + 4] = 255
        frames.append(Image.fromarray(pixels))
    return frames


def read(content: bytes) -> tuple[list[np.ndarray], list[int]]:
    """Frames and milliseconds."""
    file = Image.open(io.BytesIO(content))
    frames, times = [], []
    for number in range(getattr(file, "n_frames", 1)):
        file.seek(number)
        frames.append(np.asarray(file.convert("RGB")).astype(int))
        times.append(file.info["duration"])
    return frames, times


@pytest.mark.parametrize(("ending", "off"), [("webp", 6), ("gif", 12)])
def test_frames_and_times_come_back_and_the_last_stays(ending: str, off: float) -> None:
    given = moving()
    content = animation(given, ending, seconds=1)
    frames, times = read(content)
    assert times == [200, 200, 200, 200, 200 + 1000 * LAST_SECONDS]
    for frame, original in zip(frames, given, strict=True):
        assert np.abs(frame - np.asarray(original)).mean() < off
    assert Image.open(io.BytesIO(content)).info["loop"] == 0  # for ever


def test_what_does_not_move_does_not_flicker_in_a_gif() -> None:
    """One palette for all frames and no dithering: the ramp beside the bar is the same to the bit."""
    frames, _ = read(animation(moving(), "gif", seconds=1))
    for frame in frames:
        np.testing.assert_array_equal(frame[:, 40:], frames[0][:, 40:])
    assert len({tuple(pixel) for frame in frames for pixel in frame.reshape(-1, 3)}) <= 256


def test_an_mp4_has_even_sides_all_frames_and_the_last_for_longer(tmp_path: Path) -> None:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    given = moving(5, (47, 33))
    file = tmp_path / "a.mp4"
    file.write_bytes(animation(given, "mp4", seconds=0.5))
    said = subprocess.run([ffmpeg, "-i", file], capture_output=True, text=True).stderr
    assert "yuv420p" in said
    assert "48x34" in said
    assert "10 fps" in said
    raw = subprocess.run([ffmpeg, "-i", file, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(-1, 34, 48, 3).astype(int)
    assert len(frames) == 5 + 10 * LAST_SECONDS
    for frame, original in zip(frames, given, strict=False):
        assert np.abs(frame[:33, :47] - np.asarray(original)).mean() < 16  # 4:2:0 halves the colours of the bar
    assert np.abs(frames[-1] - frames[4]).mean() < 2


@pytest.mark.parametrize(
    ("frames", "ending", "seconds", "message"),
    [
        (moving(), "wepb", 1, "no animation 'wepb'; did you mean 'webp'? (it is webp, mp4, gif)"),
        ([], "webp", 1, "needs frames of one size, not 0 of []"),
        ([*moving(), *moving(size=(20, 20))], "gif", 1, "not 10 of [(20, 20), (48, 32)]"),
        (moving(), "webp", 0, "an animation of 0 seconds"),
        (moving(), "webp", float("nan"), "an animation of nan seconds"),
    ],
)
def test_what_is_refused(frames, ending: str, seconds: float, message: str) -> None:
    with pytest.raises(ConvscopeError) as error:
        animation(frames, ending, seconds=seconds)
    assert message in str(error.value)


def test_mp4_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ConvscopeError, match=r"pip install 'convscope\[video\]'"):
        check_ending("mp4")
    check_ending("webp")
