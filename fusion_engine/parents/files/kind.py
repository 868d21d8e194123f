"""What kind of file this is, by its content: names of checkpoints tell little."""

import zipfile
from pathlib import Path
from typing import Final, Literal

from ...core.errors import ParentError
from .torchfile import MAGIC

Kind = Literal["safetensors", "torch", "legacy", "exported", "archive", "index", "unknown"]

_HEAD: Final = 512
# First bytes of files that are taken for weights, or lie where weights should.
_OTHERS: Final = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the weights; fetch them with git lfs pull"),
    (b"\x89HDF", "an HDF5 file, as of Keras; save the weights of a torch module instead"),
    (b"GGUF", "a GGUF file of quantised weights; give float weights, as safetensors or of torch.save"),
    (b"\x1f\x8b", "compressed with gzip; unpack it first"),
    (b"BZh", "compressed with bzip2; unpack it first"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x93NUMPY", "an array of NumPy; save a torch state dict instead"),
    (b"<", "a web page, not the weights; download the file itself"),
)
_TAR: Final = slice(257, 262)


def file_kind(path: Path) -> Kind:
    """The kind of a file. ParentError in one line, without its name, for kinds that are known and not read."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    size = int.from_bytes(head[:8], "little")
    if (head[8:9] == b"{" and size < path.stat().st_size) or path.suffix.lower() == ".safetensors":
        return "safetensors"
    if head.startswith(b"PK"):
        return _archive_kind(path)
    if head.startswith(b"\x80") and MAGIC in head[:32]:
        return "legacy"
    if head.startswith(b"\x80"):
        raise ParentError("a plain pickle; save the state dict with torch.save or as safetensors instead")
    if head.lstrip()[:1] == b"{":
        return "index"
    for start, what in _OTHERS:
        if head.lstrip()[: len(start)] == start:
            raise ParentError(what)
    if head[_TAR] == b"ustar":
        raise ParentError("a tar archive; unpack it first")
    return "unknown"


def _archive_kind(path: Path) -> Kind:
    """Archives are of torch.save, of torch.export.save, or hold files of weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
        raise ParentError("the archive is damaged or cut short") from problem
    last = {name.rpartition("/")[2] for name in names}
    if path.suffix.lower() == ".pt2":
        return "exported"
    if "archive_format" in last or "serialized_exported_program.json" in last:
        return "exported"
    if "data.pkl" in last:
        return "torch"
    if any(name.endswith((".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pt2", ".json")) for name in names):
        return "archive"
    return "torch"
