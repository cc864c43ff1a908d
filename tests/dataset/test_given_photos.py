"""Photos from programs. Oracles: the pixels and files that were handed over."""

import hashlib
import pickle
import sys
import threading
import tracemalloc
import types
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from convscope.dataset.given_photos import GivenPhotos
from convscope.dataset.image_sources import ImageSource, source_of
from convscope.errors import ConvscopeError

PIXELS = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


class Labelled:
    """A map-style Dataset."""

    classes = ("cat", "king penguin")

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.asked = 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        self.asked += 1
        return self.items[number]


def seen(item: Any) -> np.ndarray:
    return np.asarray(source_of([item]).read("000000").image)


def test_every_kind_of_picture_gives_its_pixels(tmp_path: Path) -> None:
    tensor = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for item in (
        PIXELS, Image.fromarray(PIXELS), tensor, tensor / 255, (tensor.double() / 255).requires_grad_(), (PIXELS, 1),
        [PIXELS, "cat", "more"], {"image": PIXELS, "label": 0}, tmp_path / "a.png", str(tmp_path / "a.png"),
    ):  # fmt: skip
        np.testing.assert_array_equal(seen(item), PIXELS)
    np.testing.assert_array_equal(seen(tensor[:1])[..., 0], PIXELS[..., 0])


def test_the_digest_is_of_the_file_or_of_the_pixels(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    source = source_of([tmp_path / "a.png", PIXELS, Image.fromarray(PIXELS), PIXELS.reshape(5, 4, 3)])
    file = (tmp_path / "a.png").read_bytes()
    digests = [source.digest(name) for name in source.names()]
    assert digests[0] == hashlib.sha256(file).digest()[:16]
    assert digests[1] == digests[2] == source.read("000001").digest
    assert digests[3] != digests[1]  # the same bytes in another shape
    assert source.facts("000000") == (len(file), (tmp_path / "a.png").stat().st_mtime_ns)
    assert source.facts("000001") == (-1, -1)


def test_ids_sort_as_numbers() -> None:
    source = source_of([PIXELS] * 12)
    assert list(source.names()) == [f"{number:06d}" for number in range(12)]
    assert source.line() == "12 photos in the given photos"
    assert source.place is None

    class Many(Labelled):
        def __len__(self) -> int:
            return 1_000_001

    assert next(iter(source_of(Many([])).names())) == "0000000"


def test_labels_are_named_by_the_dataset() -> None:
    data = Labelled(
        [(PIXELS, 1), (PIXELS, torch.tensor(0)), (PIXELS, np.int64(1)), (PIXELS, "a text"), PIXELS, (PIXELS, 7)]
    )
    source = source_of(data)
    assert isinstance(source, ImageSource)
    labels = [source.label(name) for name in source.names()]
    assert labels == ["king penguin", "cat", "king penguin", "a text", None, "7"]
    assert source.name == "Labelled"
    asked = data.asked
    assert [source.label(name) for name in source.names()] == labels
    assert data.asked == asked  # remembered


@pytest.mark.parametrize("kind", ["made", "targets", "list"])
def test_labels_take_a_few_bytes_an_image(kind: str) -> None:
    """20,000 images of two classes: four bytes each where items are made to know them, else none."""
    items = [(None, number % 2) for number in range(20_000)]
    data = items if kind == "list" else Labelled(items)
    if kind == "targets":
        data.targets = [label for _, label in items]
    source = source_of(data)
    tracemalloc.start()
    found = Counter(source.label(name) for name in source.names())
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sorted(found.values()) == [10_000, 10_000]
    assert kept < (4 * 20_000 if kind == "made" else 0) + 20_000


def test_targets_spare_making_the_pictures() -> None:
    data = Labelled([(PIXELS, 1), (PIXELS, 0)])
    data.targets = [1, 0]
    source = source_of(data)
    assert [source.label(name) for name in source.names()] == ["king penguin", "cat"]
    assert data.asked == 0


def test_a_torchvision_dataset(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.fromarray(PIXELS).save(tmp_path / name / "a.png")
    source = source_of(ImageFolder(str(tmp_path)))
    assert [source.label(name) for name in source.names()] == ["cat", "dog"]
    np.testing.assert_array_equal(np.asarray(source.read("000001").image), PIXELS)


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)) * 2, "give it before it is normalised"),
        (torch.full((3, 4, 5), float("nan")), "give it before it is normalised"),
        (torch.zeros(4, 5), r"a tensor of shape \(4, 5\) is no picture"),
        (torch.zeros(2, 3, 4, 5), r"shape \(2, 3, 4, 5\)"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "a tensor of torch.int64 is no picture"),
        (np.zeros((4, 5, 3)), "an array of float64 is no picture"),
        ({"pixels": PIXELS}, "an item of pixels has no 'image'"),
        (Path("nowhere.png"), r"000000 \(nowhere.png\) cannot be read: No such file"),
    ],
)
def test_what_is_no_picture_is_an_error_that_says_why(item: Any, why: str) -> None:
    with pytest.raises(ConvscopeError, match=why):
        source_of([item]).read("000000")


def test_a_dataset_that_raises_is_one_photo_that_cannot_be_read() -> None:
    class Broken(Labelled):
        def __getitem__(self, number: int) -> Any:
            if number == 1:
                raise KeyError("row 1 is lost")
            return super().__getitem__(number)

    source = source_of(Broken([(PIXELS, 0), None, (PIXELS, 1)]))
    with pytest.raises(ConvscopeError, match=r"Broken cannot give photo 000001: 'row 1 is lost'"):
        source.read("000001")
    assert [source.label(name) for name in source.names()] == ["cat", None, "king penguin"]


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(ConvscopeError, match=r"no photo in the given photos: its length is 0"):
        list(source_of([]).names())


def test_a_dataset_is_asked_by_one_thread_at_a_time() -> None:
    class Unsafe(Labelled):
        inside = 0
        most = 0

        def __getitem__(self, number: int) -> Any:
            self.inside += 1
            self.most = max(self.most, self.inside)
            threading.Event().wait(0.002)
            self.inside -= 1
            return super().__getitem__(number)

    data = Unsafe([PIXELS] * 8)
    source = source_of(data)
    threads = [threading.Thread(target=source.read, args=(name,)) for name in source.names()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert data.most == 1


def test_it_travels_to_other_processes() -> None:
    again = pickle.loads(pickle.dumps(source_of([PIXELS, PIXELS + 1])))
    assert isinstance(again, GivenPhotos)
    np.testing.assert_array_equal(np.asarray(again.read("000001").image), PIXELS + 1)


class TestHub:
    def test_the_package_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(ConvscopeError, match=r"hf:org/name needs the package datasets: pip install datasets"):
            source_of("hf:org/name")

    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As the package does: a mapping of splits; rows by number, columns by name."""

        class Image:  # the package's names of the columns' types
            pass

        class ClassLabel:
            names = ("cat", "dog")

        class Rows(list[Any]):
            features = types.MappingProxyType({"id": object(), "photo": Image(), "kind": ClassLabel()})

            def __getitem__(self, at: Any) -> Any:
                return [row[at] for row in list(self)] if isinstance(at, str) else super().__getitem__(at)

        def load_dataset(name: str) -> dict[str, Any]:
            if name != "org/name":
                raise FileNotFoundError(f"Dataset '{name}' doesn't exist on the Hub\nmore")
            rows = Rows([{"id": 3, "photo": PIXELS, "kind": 1}, {"id": 4, "photo": PIXELS + 1, "kind": 0}])
            return {"train": rows, "validation": Rows(list(rows)[:1])}

        module = types.ModuleType("datasets")
        module.load_dataset = load_dataset
        monkeypatch.setitem(sys.modules, "datasets", module)

    @pytest.mark.usefixtures("hub")
    def test_images_and_labels_by_the_types_of_the_columns(self) -> None:
        source = source_of("hf:org/name:train")
        assert (source.line(), source.place) == ("2 photos in org/name (train)", "hf:org/name:train")
        assert [source.label(name) for name in source.names()] == ["dog", "cat"]
        np.testing.assert_array_equal(np.asarray(source.read("000001").image), PIXELS + 1)
        assert source_of("hf:org/name").line() == "1 photo in org/name (validation)"

    @pytest.mark.usefixtures("hub")
    def test_what_is_not_there(self) -> None:
        with pytest.raises(
            ConvscopeError, match=r"org/name has no split 'trian'; did you mean 'train'\?; it has train,"
        ):
            source_of("hf:org/name:trian")
        with pytest.raises(
            ConvscopeError, match=r"cannot load hf:no/name: Dataset 'no/name' doesn't exist on the Hub$"
        ):
            source_of("hf:no/name")
