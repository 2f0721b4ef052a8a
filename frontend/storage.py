"""Files and folders that appear whole or not at all.

Everything that Lutra leaves behind is written beside its place under a hidden name, flushed to the
disk, and moved into place; a crash, a full disk or an interrupt leaves what was there before.  The
hidden name is the same every time, so that what a killed process left is taken over by the next
one; a lock keeps two that write to one place apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

MANIFEST = "manifest.json"
"""The file by which a folder is known to be a project of Lutra's; it lists the project's files."""

MADE_LATER = ("report.html", "tb/nn_tb", "hls_work/", "lutra_hls/", "synth/")
"""What Lutra and the project's own Makefile add to a project: files, and folders with a slash."""

PATIENCE = 10.0
"""Seconds to wait for another process that writes to the same place."""

SHOWN = 5
"""Most stray files that a message lists."""


def write_file(path: str | Path, content: bytes | str) -> None:
    """Write one file whole; an existing file is replaced only once the new one is safe.

    A new file has the permissions that the umask leaves, a replaced one keeps its own; a symbolic
    link is followed.

    Raises:
        OutputError: the folder is missing or not writable, the disk is full, or ``path`` is
            something other than a file.
    """
    data = content.encode() if isinstance(content, str) else content
    with _explained(path), _partial(path) as (place, target, handle):
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        if target.exists():
            os.fchmod(handle, stat.S_IMODE(target.stat().st_mode))
        os.replace(place, target)
        _sync(target.parent)


def check_file(path: str | Path) -> None:
    """Raise an :class:`OutputError` now rather than after long work, if a file cannot be written
    at ``path``; nothing there is changed."""
    with _explained(path), _partial(path):
        pass


def check_distinct(
    outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None]
) -> None:
    """Raise an :class:`OutputError` if an output is an input, or two outputs are one; None is no
    file."""
    taken = {os.path.realpath(path): "is read by the same command" for path in inputs if path}
    for path in outputs:
        if path is not None:
            place = os.path.realpath(path)
            if place in taken:
                raise OutputError(taken[place], file=str(path), remedy="Choose another name")
            taken[place] = "is to be written twice"


@contextmanager
def _partial(path: str | Path) -> Iterator[tuple[Path, Path, int]]:
    """The empty file beside ``path`` that will become it: its name, the place that it is meant
    for, and its open handle."""
    target = Path(os.path.realpath(path))
    with contextlib.suppress(FileNotFoundError):
        kind = target.stat().st_mode
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "a device or pipe"
            raise OutputError(f"is {what}", file=str(path), expected="the name of a file")
        if not os.access(target, os.W_OK):
            raise OutputError("is read-only", file=str(path), remedy="Choose another name")
    place = _beside(target, "partial")
    with _locked(place, os.O_RDWR | os.O_CREAT) as handle:
        os.ftruncate(handle, 0)
        yield place, target, handle


def _beside(target: Path, what: str) -> Path:
    return target.with_name(f".{target.name[:60]}.lutra-{what}")


@contextmanager
def _locked(place: Path, flags: int) -> Iterator[int]:
    """Open ``place`` as soon as no other process has it, and give its handle; whatever then still
    stands there at the end, and was not moved away, is removed."""
    handle: int | None = None
    give_up = time.monotonic() + PATIENCE
    try:
        while handle is None:
            with _undisturbed():
                handle = _try_lock(place, flags)
            if handle is None:
                if time.monotonic() > give_up:
                    raise OSError(errno.EBUSY, f"another process is writing it ({place.name})")
                time.sleep(0.02)
        yield handle
    finally:
        with _undisturbed():
            if handle is not None:
                _remove(place, handle)


def _try_lock(place: Path, flags: int) -> int | None:
    """A handle of ``place`` with the lock, or None if another process has it or has just moved it
    away."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    if not flags & os.O_DIRECTORY:
        handle = os.open(place, flags, 0o666)
    else:
        place.mkdir(exist_ok=True)
        try:
            handle = os.open(place, flags)
        except BaseException:
            with contextlib.suppress(OSError):
                place.rmdir()
            raise
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(place, handle):
            return handle
    except BlockingIOError:
        pass
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _is_at(place: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.lstat(place), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove(place: Path, handle: int) -> None:
    """Remove what ``handle`` was opened on, if it is still at ``place``, and close it."""
    with contextlib.suppress(OSError):
        if _is_at(place, handle):
            if place.is_dir():
                shutil.rmtree(place, ignore_errors=True)
            else:
                place.unlink()
    os.close(handle)


def write_folder(path: str | Path, files: Mapping[str, bytes | str], *, force: bool) -> None:
    """Write a project's folder whole.

    Args:
        path: the folder; its parent must exist.
        files: contents by path within the folder, a manifest among them.
        force: replace a project that exists; nothing but a project is ever replaced, see
            :func:`check_folder`.

    Raises:
        OutputError: ``path`` exists, is a file, or cannot be written.
    """
    check_folder(path, force=force)
    target = Path(os.path.realpath(path))
    place = _beside(target, "partial")
    with _explained(path), _locked(place, os.O_RDONLY | os.O_DIRECTORY):
        _empty(place)
        for name, content in files.items():
            _write_new(place / name, content)
        _swap(place, target)
        _sync(target.parent)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _write_new(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def check_folder(path: str | Path, *, force: bool) -> None:
    """Raise an :class:`OutputError` unless a project may be written at ``path``.

    A folder that is not empty needs ``force``, and must be a project: it holds a manifest, and no
    file that Lutra did not write.
    """
    path, file = Path(path), str(path)
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        what = "a symbolic link" if path.is_symlink() else "not a folder"
        raise OutputError(f"is {what}", file=file, expected="a folder that can be made")
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise OutputError(
            "its parent folder does not exist", file=file, remedy=f"Make {path.parent} first"
        )
    if target in (here := Path.cwd(), *here.parents):
        raise OutputError(
            "is the folder that you are in", file=file, remedy="Name a folder that can be made"
        )
    if path.is_dir() and any(path.iterdir()):
        if not force:
            raise OutputError("exists already", file=file, remedy="Use --force to replace it")
        _check_project(path)
    if not os.access(target.parent, os.W_OK):
        raise OutputError("its parent folder cannot be written to", file=file)


def _check_project(path: Path) -> None:
    """Raise unless all that stands in a folder is a project's."""
    try:
        own = set(json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        raise OutputError(
            "is not a project of Lutra's and will not be replaced",
            file=str(path),
            expected=f"a folder with the {MANIFEST} that Lutra writes",
            remedy="Choose another folder",
        ) from None
    found = (
        (Path(top) / name).relative_to(path).as_posix()
        for top, _, names in os.walk(path)
        for name in names
    )
    strays = [
        name
        for name in sorted(found)
        if name not in own
        and not any(
            name.startswith(made) if made[-1] == "/" else name == made for made in MADE_LATER
        )
    ]
    if strays:
        more = f" and {len(strays) - SHOWN} more" if len(strays) > SHOWN else ""
        raise OutputError(
            "holds files that Lutra did not write, and will not be replaced",
            file=str(path),
            found=", ".join(strays[:SHOWN]) + more,
            remedy="Move them out of it, or choose another folder",
        )


def _swap(place: Path, target: Path) -> None:
    """Move ``place`` to ``target``; what stood there goes only once the new one is in place."""
    old = _beside(target, "old")
    with _undisturbed():
        if target.is_dir() and any(target.iterdir()):
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
            try:
                place.rename(target)
            except BaseException:
                old.rename(target)
                raise
            shutil.rmtree(old, ignore_errors=True)
        else:
            place.rename(target)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put off an interrupt from the keyboard until the steps within are done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[tuple[int, object]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
        if waiting:
            signal.raise_signal(signal.SIGINT)


def _sync(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _explained(path: str | Path) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(
            f"cannot be written: {reason}",
            file=str(path),
            remedy="Choose a folder that exists, can be written to and has room",
        ) from None
