"""Gather what the service needs to run into a directory of its own: the root of the image.

Runs inside the build stage. What is not gathered is not in the image: no shell, no package manager,
no pip, no compiler. The Debian packages whose files were taken are told to scanners as distroless
images tell them, one file each in /var/lib/dpkg/status.d. Of a Python that is no Debian package, as
that of the official image, dpkg knows nothing: scanners see it by its own files.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

UNUSED: Final = shutil.ignore_patterns(
    "__pycache__",
    "config-*",
    "dist-packages",
    "ensurepip",
    "EXTERNALLY-MANAGED",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "site-packages",
    "sitecustomize.py",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
    "venv",
    "_*test*.so",
    "xxlimited*.so",
    "_curses*.so",
    "_dbm*.so",
    "_gdbm*.so",
    "_sqlite3*.so",
    "_tkinter*.so",
    "readline*.so",
    "sqlite3",
)
"""Parts of the standard library that install, test, draw or keep data bases."""

KEPT: Final = frozenset({"gigya-credential-proxy"})
"""Commands of the application's packages."""

DATA: Final = ("/etc/ssl/certs/ca-certificates.crt", "/usr/lib/os-release")
LINKS: Final = ("lib", "lib32", "lib64", "libx32")
FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/:/nologin\nproxy:x:10001:10001:proxy:/:/nologin\n",
    "etc/group": "root:x:0:\nproxy:x:10001:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
LIBRARY: Final = re.compile(r"(/[^\s:]+) \(0x")


def main(application: Path, root: Path) -> None:
    """Fill ``root`` with the application, Python, their libraries and certificates."""
    root.mkdir()
    for link in LINKS:
        if (Path("/") / link).is_symlink():
            (root / link).symlink_to((Path("/") / link).readlink())
    python, library = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    taken = [copy(python, root), copy(library, root), copy(application, root)]
    taken.append(library / "asyncio/__init__.py")
    tidy(root / application.relative_to("/") / "bin", python)
    settle(root / application.relative_to("/") / "lib")
    binaries = [
        python,
        *(root / library.relative_to("/")).rglob("*.so"),
        *application.rglob("*.so*"),
    ]
    taken += [copy(each, root) for each in sorted(closure(binaries))]
    taken += [copy(Path(each), root) for each in DATA]
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    tell_packages(taken, root / "var/lib/dpkg/status.d")


def tidy(commands: Path, python: Path) -> None:
    """Leave the one command, and Python by its real place."""
    for command in commands.iterdir():
        if command.name not in KEPT:
            command.unlink()
    (commands / "python").symlink_to(python)


def settle(packages: Path) -> None:
    """Make data what some wheels mark as programs: nothing runs but the command and Python."""
    for path in packages.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".so" not in path.suffixes:
            path.chmod(path.stat().st_mode & ~0o111)


def copy(path: Path, root: Path) -> Path:
    """Copy a file or directory to its own place under ``root``; return its place."""
    place = path.parent.resolve() / path.name
    target = root / place.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        is_ours = path.is_relative_to("/opt")
        shutil.copytree(path, target, symlinks=True, ignore=None if is_ours else UNUSED)
    elif not target.exists():
        shutil.copy2(path, target)
    return place


def closure(binaries: Iterable[Path]) -> Iterator[Path]:
    """Yield every shared library that ``binaries`` load, the loader included."""
    listing = subprocess.run(
        ["ldd", *map(str, binaries)],
        check=False,  # what is no dynamic executable is said, and is not needed
        capture_output=True,
        text=True,
    ).stdout
    return (Path(each) for each in set(LIBRARY.findall(listing)) if not each.startswith("/opt"))


def tell_packages(taken: Iterable[Path], directory: Path) -> None:
    """Write the record of each Debian package that a taken file belongs to."""
    if shutil.which("dpkg") is None:
        return
    directory.mkdir(parents=True)
    owners = run("dpkg", "-S", *sorted({name for each in taken for name in known_as(each)}))
    for name in {line.partition(": ")[0] for line in owners.splitlines()}:
        if not name.startswith("diversion") and "," not in name:
            record = run("dpkg", "-s", name)
            (directory / name.partition(":")[0]).write_text(record)


def known_as(path: Path) -> Iterator[str]:
    """Yield the names by which dpkg may know a file: its lists need not know that /lib is a link.

    Bookworm's libc6 has /lib/x86_64-linux-gnu/libc.so.6 there, trixie's the same below /usr.
    """
    real = os.path.realpath(path)
    yield real
    for link in LINKS:
        if real.startswith(f"/usr/{link}/") and Path(f"/{link}").is_symlink():
            yield real.removeprefix("/usr")


def run(*command: str) -> str:
    """Return the output of a command of the base, whatever its status."""
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
