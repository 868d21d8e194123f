"""load_data: every source, and hostile or broken files."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fusion_engine.core.errors import DataError, UnsafeFileError
from fusion_engine.data import images, load_data, save_npz


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_digits_parts_are_a_stratified_partition() -> None:
    everything, train, test = (load_data(f"digits{part}") for part in ("", ":train", ":test"))
    assert everything.input_shape == (1, 8, 8)
    assert everything.x.dtype == torch.uint8
    assert int(everything.x.max()) == 255
    assert len(train) + len(test) == len(everything) == 1797
    assert (train.counts + test.counts == everything.counts).all()
    assert np.abs(test.counts / everything.counts - 0.3).max() < 0.01
    assert train.digest == load_data("digits:train").digest
    assert abs(float(train.normalised().mean())) < 1e-4
    assert float(train.normalised().std()) == pytest.approx(1, abs=1e-3)


def test_unknown_names_say_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="digits:train"):
        load_data("digits:trian")
    with pytest.raises(DataError, match=r"^no\.npz: .*no such file"):
        load_data(tmp_path / "no.npz")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="not a kind of data"):
        load_data(tmp_path / "a.txt")


def test_npz_round_trip(tmp_path: Path) -> None:
    data = load_data("digits:test").subset(slice(0, 30))
    save_npz(tmp_path / "d.npz", data)
    again = load_data(tmp_path / "d.npz")
    assert again.digest == data.digest
    assert again.classes == 10


def test_npz_reads_floats_fortran_order_and_byte_order(tmp_path: Path) -> None:
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(5, 3)).astype(">f8"))
    data = load_data(write_npz(tmp_path / "d.npz", x=x, y=np.array([0, 1, 2, 0, 1], np.uint8)))
    np.testing.assert_array_equal(data.x.numpy(), x.astype(np.float32))
    assert data.classes == 3


def test_shared_files(shared_data: Path) -> None:
    data = load_data(shared_data / "mnist-calibration-400.npz")
    assert data.input_shape == (1, 28, 28)
    assert data.mean is not None
    assert float(data.mean[0]) == pytest.approx(0.1307)
    assert data.counts.sum() == 400


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3, int)}, "no array x"),
        ({"x": np.zeros((3, 2, 2, 2), np.int64), "y": np.zeros(3, int)}, "x holds int64, so tokens"),
        ({"x": np.zeros((3, 2), np.complex64), "y": np.zeros(3, int)}, "not complex64"),
        ({"input_ids": np.zeros((3, 2), int), "x": np.zeros((3, 2))}, "both an array x and named tokens"),
        ({"input_ids": np.zeros((3, 2), int), "attention_mask": np.zeros((3, 3), int)}, "different shapes"),
        ({"input_ids": np.zeros((2, 2), int), "attention_mask": np.array([[1, 1], [0, 0]])}, "sample 1 is masked"),
        ({"input_ids": np.zeros((3, 2)), "y": np.zeros(3, int)}, "whole numbers"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.zeros(3, int), "labels": np.zeros(3, int)}, "several names"),
        ({"x": np.full((3, 2), np.nan, np.float32), "y": np.zeros(3, int)}, "NaN"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.zeros(4, int)}, "3 samples but 4 labels"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.array([0, 1, np.nan])}, "NaN"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.zeros(3, complex)}, "class numbers"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.full((3, 4), -100)}, "no label counts"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.array([0, -1, 1])}, "negative"),
        ({"x": np.zeros((3, 2), np.float32)}, "no labels"),
        ({"x": np.zeros((3, 2), np.float32), "y": np.zeros(3, int), "mean": np.array(["a"])}, "numbers"),
    ],
)
def test_wrong_npz_contents(tmp_path: Path, arrays: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_data(write_npz(tmp_path / "d.npz", **arrays))
    assert str(tmp_path) not in str(caught.value)


def test_labels_can_be_optional(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "d.npz", x=np.zeros((3, 2), np.float32))
    assert load_data(path, y_required=False).y is None


def test_object_arrays_are_refused(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "d.npz", x=np.array([object()] * 3, dtype=object))
    with pytest.raises(UnsafeFileError, match="Python objects"):
        load_data(path)


def test_a_lying_npy_header_allocates_nothing(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 10)}
    )
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + b"\0" * 40)
    with pytest.raises(DataError, match="header is wrong"):
        load_data(tmp_path / "d.npz")


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("classes", [3 * 10**8, 100_001, -1])
def test_a_number_of_classes_that_would_take_the_memory_is_refused(
    tmp_path: Path, classes: int, labels: bool
) -> None:
    arrays = {"x": np.zeros((3, 2), np.float32), "classes": np.array(classes)} | ({"y": np.arange(3)} if labels else {})
    with pytest.raises(DataError, match=rf"d\.npz: classes is {classes:,}; .* at most 100,000"):
        load_data(write_npz(tmp_path / "d.npz", **arrays), y_required=False)


def test_labels_stand_for_their_classes(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "d.npz", x=np.zeros((3, 2), np.float32), y=np.array([0, 1, 100_000]))
    with pytest.raises(DataError, match="a label in y is 100000"):
        load_data(path)


def test_class_folders_without_number_are_refused_before_a_picture_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_CLASSES", 100)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for number in range(101):
            archive.writestr(f"{number}/1.png", b"")
    with pytest.raises(DataError, match="101 class folders; at most 100"):
        load_data(tmp_path / "pets.zip")


def test_a_zip_bomb_is_refused_before_reading(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\0" * 2_000_000)
    assert (tmp_path / "d.npz").stat().st_size < 10_000
    with pytest.raises(UnsafeFileError, match="unpacks to"):
        load_data(tmp_path / "d.npz", limit=1_000_000)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_truncated_npz(tmp_path: Path, keep: int) -> None:
    path = write_npz(tmp_path / "d.npz", x=np.zeros((50, 2), np.float32), y=np.zeros(50, int))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"damaged|empty"):
        load_data(path)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_pair(tmp_path: Path, zipped: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4)).astype(np.uint8)
    labels = np.array([0, 1, 2, 3, 0, 1, 2], np.uint8)
    end, pack = (".gz", gzip.compress) if zipped else ("", bytes)
    (tmp_path / f"train-images-idx3-ubyte{end}").write_bytes(pack(idx(images)))
    (tmp_path / f"train-labels-idx1-ubyte{end}").write_bytes(pack(idx(labels)))
    data = load_data(tmp_path / f"train-images-idx3-ubyte{end}")
    assert data.input_shape == (1, 5, 4)
    np.testing.assert_array_equal(data.x[:, 0].numpy(), images)
    assert data.y is not None
    assert data.y.tolist() == labels.tolist()


def test_broken_idx(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    good = idx(np.zeros((7, 5, 4), np.uint8))
    for raw, message in [
        (gzip.compress(good[:-1]), "cut short"),
        (gzip.compress(good + b"x"), "longer"),
        (gzip.compress(good)[:-12], "damaged|cut short"),
        (gzip.compress(b"\x01\x02\x08\x03" + good[4:]), "not an IDX"),
        (gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 2**31, 2**31, 9)), "more than the limit"),
    ]:
        path.write_bytes(raw)
        with pytest.raises((DataError, UnsafeFileError), match=message):
            load_data(path)


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_image_folder_and_zip_agree(tmp_path: Path) -> None:
    files = {
        "cats/1.png": picture((255, 0, 0)),
        "cats/2.png": picture((200, 0, 0), size=(12, 8)),
        "dogs/1.png": picture((0, 0, 255)),
    }
    for name, raw in files.items():
        file = tmp_path / "pets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(raw)
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name, raw in files.items():
            archive.writestr(f"pets/{name}", raw)
        archive.writestr("__MACOSX/pets/cats/._1.png", b"junk")
    folder, packed = load_data(tmp_path / "pets"), load_data(tmp_path / "pets.zip")
    assert folder.digest == packed.digest
    assert folder.input_shape == (3, 4, 6)
    assert folder.counts.tolist() == [2, 1]
    assert folder.x[0, :, 0, 0].tolist() == [255, 0, 0]
    assert "1 of 3 images resized to 6 x 4" in folder.name


@pytest.mark.parametrize("name", ["../evil/1.png", "/evil/1.png", "a\\..\\..\\1.png", "C:/a/1.png"])
def test_image_zip_with_traversal(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        archive.writestr(name, picture((1, 2, 3)))
    with pytest.raises(UnsafeFileError, match="leaves its folder"):
        load_data(tmp_path / "pets.zip")


def test_pictures_that_are_bombs_or_junk(tmp_path: Path) -> None:
    (tmp_path / "pets" / "cats").mkdir(parents=True)
    file = tmp_path / "pets" / "cats" / "1.png"
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    file.write_bytes(buffer.getvalue())
    with pytest.raises(UnsafeFileError, match="pixels"):
        load_data(tmp_path / "pets")
    file.write_bytes(b"not a picture")
    with pytest.raises(DataError, match="not a readable image"):
        load_data(tmp_path / "pets")
    file.unlink()
    with pytest.raises(DataError, match="no images"):
        load_data(tmp_path / "pets")
