"""File systems that can fail: mounting needs root, so ``.ci/run`` runs what uses them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def run(*command: str | Path) -> None:
    """Run mount or umount."""
    subprocess.run([str(part) for part in command], check=True)  # noqa: S603  # mount, umount


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount 64 KiB of memory as a file system."""
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", path)
    try:
        yield path
    finally:
        run("umount", "--lazy", path)


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Put a read-only mount on top; an open file keeps the one below from being remounted."""
    run("mount", "--bind", path, path)
    try:
        run("mount", "-o", "remount,ro,bind", path)
        yield
    finally:
        run("umount", "--lazy", path)
