"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lutra.frontend import storage
from lutra.frontend.errors import OutputError
from lutra.frontend.storage import (
    check_distinct,
    check_file,
    check_folder,
    write_file,
    write_folder,
)

FILES: dict[str, bytes | str] = {
    "manifest.json": json.dumps({"files": ["a.txt", "manifest.json", "src/b.bin"]}),
    "a.txt": "text ü",
    "src/b.bin": b"\x00\xff",
}
NEWER = FILES | {"a.txt": "newer"}


@pytest.fixture
def usual_umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.usefixtures("usual_umask")
def test_a_file_is_written_with_the_permissions_of_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_file(path, "text ü")
    assert path.read_text() == "text ü"
    assert mode(path) == 0o640
    path.chmod(0o600)
    write_file(str(path), b"bytes")
    assert path.read_bytes() == b"bytes"
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.usefixtures("usual_umask")
def test_a_folder_is_written_with_the_permissions_of_its_place(tmp_path: Path) -> None:
    path = tmp_path / "p"
    write_folder(path, FILES, force=False)
    assert tree(path) == {k: v.encode() if isinstance(v, str) else v for k, v in FILES.items()}
    assert [mode(p) for p in (path, path / "src", path / "a.txt")] == [0o750, 0o750, 0o640]


def test_a_link_is_followed_and_kept(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    for content in ("new", "newer"):
        write_file(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "file").read_text() == content
    assert os.listdir(tmp_path / "real") == ["file"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a device or pipe"),
        (Path("/dev/null"), "is a device or pipe"),
        (tmp_path / "missing" / "f", "No such file"),
        (tmp_path / ("n" * 300), "File name too long"),
        (tmp_path / "zero\0", "null"),
    ):
        for action in (check_file, lambda p: write_file(p, "x")):
            with pytest.raises(OutputError, match=problem) as caught:
                action(path)
            assert caught.value.file == str(path)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_read_only_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("mine")
    monkeypatch.setattr(os, "access", lambda *_: False)
    for action in (check_file, lambda p: write_file(p, "x")):
        with pytest.raises(OutputError, match="read-only"):
            action(path)
    assert path.read_text() == "mine"


def test_long_names_have_room_for_the_hidden_one(tmp_path: Path) -> None:
    for name in ("n" * 255, "ü" * 127):
        write_file(tmp_path / name, "x")
        write_folder(tmp_path / name[1:], FILES, force=False)
    assert len(os.listdir(tmp_path)) == 4


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    check_file(tmp_path / "a")
    check_file(tmp_path / "b")
    check_folder(tmp_path / "p", force=False)
    assert tree(tmp_path) == {"a": b"mine"}


FAILURES = [
    (OSError(errno.ENOSPC, "No space left on device"), OutputError),
    (KeyboardInterrupt(), KeyboardInterrupt),
]


@pytest.mark.parametrize(("raised", "expected"), FAILURES)
@pytest.mark.parametrize("call", ["open", "fsync", "replace", "rename"])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    raised: BaseException,
    expected: type[BaseException],
) -> None:
    """Whichever call to the system fails."""
    write_file(tmp_path / "file", "before")
    write_folder(tmp_path / "project", FILES, force=False)
    before = tree(tmp_path)
    calls = 0

    def fail(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        if call != "rename":
            with pytest.raises(expected):
                write_file(tmp_path / "file", "after")
        if call != "replace":
            with pytest.raises(expected):
                write_folder(tmp_path / "project", NEWER, force=True)
    assert calls
    assert tree(tmp_path) == before
    assert sorted(os.listdir(tmp_path)) == ["file", "project"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "project", FILES, force=False)
    before = tree(tmp_path)
    rename = os.rename

    def second_fails(source: Path, target: Path) -> None:
        if "partial" in str(source):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OutputError, match="Input/output error"):
        write_folder(tmp_path / "project", NEWER, force=True)
    assert tree(tmp_path) == before
    assert os.listdir(tmp_path) == ["project"]


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".file.lutra-partial").write_text("long leftover")
    (tmp_path / ".project.lutra-partial" / "src").mkdir(parents=True)
    (tmp_path / ".project.lutra-partial" / "src" / "left.cpp").write_text("leftover")
    write_file(tmp_path / "file", "new")
    write_folder(tmp_path / "project", FILES, force=False)
    assert (tmp_path / "file").read_text() == "new"
    assert set(tree(tmp_path / "project")) == set(FILES)
    assert sorted(os.listdir(tmp_path)) == ["file", "project"]


def test_many_writers_of_one_place_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([i]) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_file, args=(path, c)) for c in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert not path.exists() or path.read_bytes() in contents
    assert path.read_bytes() in contents
    assert os.listdir(tmp_path) == ["file"]


def test_a_place_that_stays_taken_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 0.05)
    with (
        storage._locked(tmp_path / ".file.lutra-partial", os.O_RDWR | os.O_CREAT),
        pytest.raises(OutputError, match="another process is writing"),
    ):
        write_file(tmp_path / "file", "x")
    write_file(tmp_path / "file", "x")


def test_an_interrupt_waits_for_the_swap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new folder is in its place and the old one is gone when the interrupt is heard."""
    write_folder(tmp_path / "project", FILES, force=False)
    rename = os.rename

    def interrupted(source: Path, target: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        rename(source, target)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "project", NEWER, force=True)
    assert (tmp_path / "project" / "a.txt").read_text() == "newer"
    assert os.listdir(tmp_path) == ["project"]


def test_interrupts_at_any_moment(tmp_path: Path) -> None:
    """A process that writes all the time is stopped; each time all is whole and nothing left."""
    script = (
        "import sys\nfrom pathlib import Path\nfrom tests.test_storage import *\n"
        "here = Path(sys.argv[1])\n"
        "while True:\n"
        "    write_file(here / 'file', b'x' * 5000)\n"
        "    write_folder(here / 'project', FILES, force=True)\n"
        "    print('ready', flush=True)\n"
    )
    for i in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.003 * i)
            child.send_signal(signal.SIGINT)
            child.stdout.read()
        assert child.returncode == -signal.SIGINT
        assert sorted(os.listdir(tmp_path)) == ["file", "project"]
        assert (tmp_path / "file").read_bytes() == b"x" * 5000
        assert set(tree(tmp_path / "project")) == set(FILES)


# What --force may replace


def test_force_replaces_a_project_with_what_was_built_in_it(tmp_path: Path) -> None:
    path = tmp_path / "project"
    write_folder(path, FILES | {"tb/nn_tb": "", "hls_work/deep/log": ""}, force=False)
    with pytest.raises(OutputError, match="--force"):
        write_folder(path, NEWER, force=False)
    write_folder(path, NEWER, force=True)
    assert set(tree(path)) == set(FILES)


@pytest.mark.parametrize("force", [False, True])
def test_an_empty_folder_needs_no_force(tmp_path: Path, force: bool) -> None:
    (tmp_path / "project").mkdir()
    write_folder(tmp_path / "project", FILES, force=force)
    assert set(tree(tmp_path / "project")) == set(FILES)


@pytest.mark.parametrize(
    "manifest",
    [
        None,
        "",
        "not JSON",
        "[]",
        "{}",
        '{"name": "a web page", "icons": []}',
        '{"files": 7}',
        "[" * 100_000,
    ],
    ids=lambda text: str(text)[:20],
)
def test_what_is_not_a_project_is_never_replaced(tmp_path: Path, manifest: str | None) -> None:
    path = tmp_path / "mine"
    path.mkdir()
    (path / "thesis.tex").write_text("years of work")
    if manifest is not None:
        (path / "manifest.json").write_text(manifest)
    before = tree(path)
    with pytest.raises(OutputError, match="not a project of Lutra's"):
        write_folder(path, FILES, force=True)
    assert tree(path) == before


def test_the_users_files_in_a_project_are_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "project"
    write_folder(path, FILES, force=False)
    for i in range(8):
        (path / "src" / f"note{i}.txt").write_text("mine")
    (path / "tb").mkdir()
    (path / "tb" / "nn_tb.notes").write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match=r"found src/note0.txt, .* and 4 more") as caught:
        write_folder(path, NEWER, force=True)
    assert "Move them" in str(caught.value)
    assert tree(tmp_path) == before


def test_folders_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path, problem in (
        ("../file", "is not a folder"),
        ("../file/p", "parent folder does not exist"),
        ("../link", "is a symbolic link"),
        ("../no/p", "parent folder does not exist.* Make ../no first"),
        (".", "the folder that you are in"),
        ("..", "the folder that you are in"),
        ("/", "the folder that you are in"),
    ):
        for force in (False, True):
            with pytest.raises(OutputError, match=problem):
                check_folder(path, force=force)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        check_folder(tmp_path / "p", force=False)
    assert sorted(os.listdir(tmp_path)) == ["file", "here", "link"]


def test_outputs_differ_from_inputs_and_from_one_another(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "link").symlink_to("a")
    check_distinct([tmp_path / "b", None, tmp_path / "c"], [tmp_path / "a", None])
    for outputs in ([tmp_path / "link"], [tmp_path / "x" / ".." / "a"]):
        with pytest.raises(OutputError, match="is read by the same command"):
            check_distinct(outputs, [tmp_path / "a"])
    with pytest.raises(OutputError, match="written twice"):
        check_distinct([tmp_path / "b", str(tmp_path / "b")], [])
