"""Files and folders that appear whole or not at all.

Everything that Lutra leaves behind is written beside its place under a temporary name, flushed to
the disk, and moved into place; a crash, a full disk or an interrupt leaves what was there before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


def write_file(path: str | Path, content: bytes | str) -> None:
    """Write one file whole; an existing file is replaced only once the new one is safe.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or ``path`` is a
            folder.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    if path.is_dir():
        raise OutputError("is a folder", file=str(path), expected="the name of a file")
    with _explained(path):
        handle, temporary = tempfile.mkstemp(prefix=".lutra-", dir=path.parent or ".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_folder(path: str | Path, files: Mapping[str, bytes | str], *, force: bool) -> None:
    """Write a folder of files whole.

    Args:
        path: the folder; its parent must exist.
        files: contents by path within the folder.
        force: replace a folder that exists.  It must be one that Lutra made before (it holds a
            ``manifest.json``) or be empty, so that nothing else is ever deleted.

    Raises:
        OutputError: ``path`` exists, is a file, or cannot be written.
    """
    path = Path(path)
    check_free(path, force=force)
    with _explained(path):
        temporary = Path(tempfile.mkdtemp(prefix=".lutra-", dir=path.parent))
        try:
            for name, content in files.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.encode() if isinstance(content, str) else content)
            os.chmod(temporary, 0o777 & ~_umask())
            _swap(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def check_free(path: str | Path, *, force: bool) -> None:
    """Raise an :class:`OutputError` unless a folder may be written at ``path``."""
    path = Path(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise OutputError("is not a folder", file=str(path), expected="a folder that can be made")
    if not path.parent.is_dir():
        raise OutputError("its parent folder does not exist", file=str(path))
    if path.is_dir() and any(path.iterdir()):
        if not force:
            raise OutputError("exists already", file=str(path), remedy="Use --force to replace it")
        if not (path / "manifest.json").is_file():
            raise OutputError(
                "is not a project of Lutra's and will not be replaced",
                file=str(path),
                expected="a folder with a manifest.json",
                remedy="Choose another folder",
            )


def _swap(temporary: Path, path: Path) -> None:
    """Move ``temporary`` to ``path``; what stood there goes only once the new one is in place."""
    if not path.exists():
        temporary.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=".lutra-old-", dir=path.parent)) / "old"
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        old.parent.rmdir()
        raise
    shutil.rmtree(old.parent, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            file=str(path),
            remedy="Choose another place, or make room",
        ) from None
