"""What the image's build stage tells scanners of the Debian packages that it takes from."""

from pathlib import Path

import pytest

from deploy.image import root

pytestmark = pytest.mark.needs_tools


class TestPackages:
    def test_are_told_whatever_name_dpkg_knows_their_files_by(self, tmp_path: Path) -> None:
        """The C library is told of, though dpkg and the loader may name its place differently."""
        libraries = list(root.closure([Path("/bin/ls")]))
        root.tell_packages(libraries, tmp_path / "status.d")

        told = {each.name: each.read_text("utf-8") for each in (tmp_path / "status.d").iterdir()}
        assert "Package: libc6\n" in told["libc6"]

    @pytest.mark.parametrize("below", ["/lib", "/usr/lib"])
    def test_are_looked_for_by_both_names(self, below: str) -> None:
        """Where /lib leads to /usr/lib, a file has two names."""
        (library,) = (each for each in root.closure([Path("/bin/ls")]) if "libc.so" in each.name)
        inside = str(library).removeprefix("/usr").removeprefix("/lib")

        assert {f"/lib{inside}", f"/usr/lib{inside}"} == set(root.known_as(Path(below + inside)))


class TestPrograms:
    def test_are_none_among_the_packages(self, tmp_path: Path) -> None:
        """A wheel's data is no program, whatever its mode says; libraries stay as they are."""
        modes = {"a-1.dist-info/METADATA": 0o755, "a/data": 0o644, "a/b.cpython-313.so": 0o755}
        for name, mode in modes.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
            (tmp_path / name).chmod(mode)
        root.settle(tmp_path)

        assert {**modes, "a-1.dist-info/METADATA": 0o644} == {
            name: (tmp_path / name).stat().st_mode & 0o777 for name in modes
        }
