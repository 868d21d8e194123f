"""Read a file or folder of weights, whatever it is called: its content says what it is."""

from pathlib import Path
from typing import Final

from ...core.errors import FusionError, ParentError
from ...core.files import check_file
from ...exported import ExportedConfig, read_exported_file
from ..header import read_header
from .content import Content, plain_content
from .folder import read_bundle, read_folder, read_index
from .kind import file_kind
from .safetensorsfile import read_safetensors
from .torchfile import read_legacy_file, read_torch_file

_ENDINGS: Final = (".safetensors", ".index", ".json", ".pth", ".pt", ".pt2", ".ckpt", ".bin", ".tar", ".zip")


def title(name: str) -> str:
    """What a file is called without the endings of checkpoints: 'best' for 'best.pth.tar'."""
    stem = Path(name).stem
    while stem.lower().endswith(_ENDINGS) and Path(stem).stem:
        stem = Path(stem).stem
    return stem


def read_content(path: Path, limit: int, program: bool = True) -> Content:
    """What a file or folder of weights holds. program: whether an exported program is read too, or its weights alone.

    Raises ParentError or UnsafeFileError with one line that begins with the name of the file or folder.
    """
    try:
        if path.is_dir():
            return read_folder(path, limit, _one_file)
        return _read(check_file(path, limit, ParentError), limit, program)
    except FusionError as problem:
        line = str(problem)
        if line.startswith(f"{path.name}: "):
            raise
        raise type(problem)(f"{path.name}: {line}") from problem


def _one_file(path: Path, limit: int) -> Content:
    return _read(path, limit, program=False, several=False)


def _read(path: Path, limit: int, program: bool, several: bool = True) -> Content:
    """several: whether the file may name others or hold files itself."""
    kind = file_kind(path)
    if kind == "safetensors":
        tensors, text = read_safetensors(path)
        return plain_content(tensors, read_header(text))
    if kind == "torch":
        return read_torch_file(path, limit)
    if kind == "legacy":
        return read_legacy_file(path, limit)
    if kind == "exported":
        tensors, found = read_exported_file(path, limit, program=program)
        said = {} if found is None else {"architecture": {"name": ExportedConfig.name, **found}}
        return plain_content(tensors, said)
    if several and kind == "index":
        return read_index(path, limit, _one_file)
    if several and kind == "archive":
        return read_bundle(path, limit, _one_file)
    raise ParentError("not a file of torch.save, torch.export.save or safetensors, or damaged")
