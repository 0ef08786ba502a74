"""Look into the image, run it under runc as a hardened cluster would, and ask it for a token.

``python3 deploy/image/try_image.py ROOT IMAGE.json``: the unpacked image and its configuration.
Standard library only. Prints line by line what holds; exits 1 with the first that does not.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

HERE: Final = Path(__file__).parent
COMPOSE: Final = HERE.parent / "compose"
REFUSED: Final = HERE.parents[1] / "helm/gigya-credential-proxy/files/refused.py"
API: Final = "http://127.0.0.1:8080"
MANAGEMENT: Final = "http://127.0.0.1:9090"
GIGYA: Final = "http://127.0.0.1:9321"
EXECUTABLES: Final = {"/usr/bin/python3.13", "/opt/proxy/bin/gigya-credential-proxy"}
INSTALLERS: Final = frozenset({"pip", "setuptools", "wheel", "ensurepip", "venv", ".cache"})
TOOL: Final = re.compile(
    r"(.*\.(whl|deb)|sh|bash|dash|busybox|apt|apt-get|dpkg-query|gcc.*|cc|g\+\+|ld|as|make|perl|git)"
)
PRIVATE: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{100,}")
SECONDS: Final = 30.0


def hold(is_so: object, told: str) -> None:
    """Print what holds, or end with what does not."""
    print(f"{'ok  ' if is_so else 'FAIL'}  {told}", flush=True)
    if not is_so:
        sys.exit(1)


def main(root: Path, image: Mapping[str, Any]) -> None:
    """Check all of it."""
    look_inside(root, image)
    uid = 1_000_000_000 + secrets.randbelow(1_000_000)
    with tempfile.TemporaryDirectory() as directory:
        bundles = Path(directory)
        config = {"/etc/gigya-credential-proxy": COMPOSE / "proxy"}
        with container(
            bundles / "simulator",
            root,
            image,
            ["simulate", "--seed", "0"],
            uid=uid,
            scratch="/tmp",  # noqa: S108  # its own
        ):
            wait_for(f"{GIGYA}/livez")
            with container(
                bundles / "proxy", root, image, image["Cmd"], uid=uid, mounts=config
            ) as proxy:
                at_work(proxy, uid, bundles / "proxy")
            over_tls(bundles, root, image, uid)


def look_inside(root: Path, image: Mapping[str, Any]) -> None:
    """Check what the image holds."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    inside = {f"/{path.relative_to(root)}": path for path in files}
    programs = {
        name
        for name, path in inside.items()
        if path.stat().st_mode & 0o111 and path.suffix not in {".py", ".so"} and ".so." not in name
    }
    hold(image["User"] == "10001:10001", f"user {image['User']}, a number and not root")
    hold(image["StopSignal"] == "SIGTERM", f"entry point {image['Entrypoint']}, no shell around it")
    hold(
        not [each for each in image["Env"] if re.search("SECRET|TOKEN|PASS", each)],
        f"environment {' '.join(image['Env'])}",
    )
    hold(programs == EXECUTABLES, f"programs: {' '.join(sorted(programs))}")
    found = {p for p in root.rglob("*") if p.name in INSTALLERS or is_tool(p)}
    hold(not found, f"no shell, compiler, package manager, pip or cache {shown(found)}")
    special = {p for p in files if p.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)}
    hold(not special, f"nothing set-uid or set-gid {shown(special)}")
    writable = {p for p in root.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o002}
    hold(writable == {root / "tmp"}, "nothing writable for others but /tmp")
    private = {p for p in files if PRIVATE.search(p.read_bytes())}
    hold(not private, f"no private key {shown(private)}")
    ours = {(COMPOSE / "proxy" / n).read_bytes().strip() for n in ("partner-secret", "user-secret")}
    leaked = {p for p in files if any(each in p.read_bytes() for each in ours)}
    hold(not leaked, f"no secret of the simulator {shown(leaked)}")
    packages = sorted(p.name for p in (root / "var/lib/dpkg/status.d").iterdir())
    hold(packages, f"Debian packages told to scanners: {' '.join(packages)}")
    needed = ("libc6", "libssl3", "zlib1g")
    absent = [each for each in needed if not any(name.startswith(each) for name in packages)]
    hold(not absent, f"the libraries that every Python loads are among them {' '.join(absent)}")


def is_tool(path: Path) -> bool:
    """Whether a file's name is that of a shell, a package, or what builds or installs one."""
    return path.is_file() and TOOL.fullmatch(path.name) is not None


def shown(paths: set[Path]) -> str:
    """Return some of the paths, or nothing."""
    return " ".join(sorted(map(str, paths))[:5])


def at_work(proxy: "subprocess.Popen[str]", uid: int, bundle: Path) -> None:
    """Check that it serves, and how it ends."""
    began = time.monotonic()
    wait_for(f"{MANAGEMENT}/readyz")
    hold(True, f"ready after {time.monotonic() - began:.1f} s")  # noqa: FBT003  # it is so
    status = process_status(bundle)
    hold(status["Uid"].split() == [str(uid)] * 4, f"runs as uid {uid}, which no file knows")
    caps = {status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    hold(caps == {"0000000000000000"}, "no capabilities, not even to be had")
    hold(status["NoNewPrivs"] == "1", "no new privileges")
    hold(status["options"].split(",")[0] == "ro", "read-only root, and nothing writable mounted")
    answer = ask("user-twitter", "twitter")
    hold(answer[0] == 200, f"released: {' '.join(sorted(answer[1]['tokens']))}")
    hold(
        answer[1]["tokens"]["oauth_token"] == gigyas_own("user-twitter", "twitter"),
        "the token is the one that Gigya has",
    )
    hold(ask("user-twitter", "nobody")[0] == 400, "an unknown provider is refused")
    hold(
        subprocess.run([sys.executable, REFUSED, API], check=False).returncode == 0,
        "the chart's test: without a credential it is refused",
    )
    drains(proxy, bundle)
    records = [json.loads(line) for line in (bundle / "out").read_text().splitlines()]
    audited = [each for each in records if each.get("audit_id") == answer[1]["audit_id"]]
    hold(len(audited) == 1, "the release is in the audit on standard output")
    hold(
        answer[1]["tokens"]["oauth_token"]
        not in (bundle / "out").read_text() + (bundle / "err").read_text(),
        "and its token is in no output",
    )


def over_tls(bundles: Path, root: Path, image: Mapping[str, Any], uid: int) -> None:
    """Check what a configuration with TLS and tracing asks of the image."""
    (keys := bundles / "tls").mkdir()
    keys.chmod(0o777)
    mounts = {"/tls": keys}
    maker = ["simulate", "--port", "9322", "--tls-dir", "/tls", "--tls-name", "127.0.0.1"]
    with container(
        bundles / "authority",
        root,
        image,
        maker,
        uid=uid,
        mounts=mounts,
        writable=frozenset(mounts),
        scratch="/tmp",  # noqa: S108  # its own
    ):
        wait_for_port(9322)
    shutil.copytree(COMPOSE / "proxy", dressed := bundles / "dressed")
    with (dressed / "config.yaml").open("a") as file:
        file.write(DRESS)
    mounts["/etc/gigya-credential-proxy"] = dressed
    with collector(4318) as spans:
        with container(
            bundles / "dress", root, image, image["Cmd"], uid=uid, mounts=mounts
        ) as proxy:
            wait_for("http://127.0.0.1:9091/readyz")
            believes_certifi(bundles, root, image, uid)
            os.kill(pid_of(bundles / "dress"), signal.SIGTERM)
            hold(proxy.wait(SECONDS) == 0, "with TLS and tracing: exit 0 after SIGTERM")
        hold(b"gigya-credential-proxy" in b"".join(spans), "spans went to the collector, as OTLP")


DRESS: Final = """
listeners:
  api: {port: 8443, tls: {certificate_file: /tls/server.pem, key_file: /tls/server-key.pem}}
  management: {port: 9091}
tracing: {endpoint: "http://127.0.0.1:4318", share: 1}
"""


def believes_certifi(bundles: Path, root: Path, image: Mapping[str, Any], uid: int) -> None:
    """Check that the chart's test runs in the image, and believes certifi's authorities there."""
    python = {**image, "Entrypoint": ["/opt/proxy/bin/python", "-I", "-c", REFUSED.read_text()]}
    asking = ["https://127.0.0.1:8443", "/none/ca.crt"]
    (roots,) = root.glob("opt/proxy/lib/python3*/site-packages/certifi/cacert.pem")
    place, ours = f"/{roots.relative_to(root)}", bundles / "tls/ca.pem"
    for name, mounts, status in (("strange", {}, 1), ("known", {place: ours}, 0)):
        with container(bundles / name, root, python, asking, uid=uid, mounts=mounts) as ended:
            got = ended.wait(SECONDS)
        said = (bundles / name / "out").read_text().splitlines()[-1:]
        hold(got == status, f"the chart's test in the image, authority {name}: {said}")


@contextmanager
def collector(port: int) -> Iterator[list[bytes]]:
    """Take what is delivered as OTLP over HTTP."""
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", port), Collector)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def drains(proxy: "subprocess.Popen[str]", bundle: Path) -> None:
    """Check that SIGTERM fails readiness, lets what has begun end, and exits 0."""
    post(f"{GIGYA}/_simulator/knobs", {"delay": 4, "uid": "user-facebook"})
    slow: list[tuple[int, Any]] = []
    asking = Thread(target=lambda: slow.append(ask("user-facebook", "facebook")))
    asking.start()
    time.sleep(1.0)  # it is with Gigya now, for three seconds more
    began = time.monotonic()
    os.kill(pid_of(bundle), signal.SIGTERM)
    wait_for(f"{MANAGEMENT}/readyz", status=503)
    hold(True, "SIGTERM: not ready at once")  # noqa: FBT003  # it is so
    hold(ask("user-google", "google")[0] == 200, "a request in the delay is served")
    asking.join(SECONDS)
    hold(slow and slow[0][0] == 200, "the request that had begun is answered")
    hold(proxy.wait(SECONDS) == 0, f"exit 0, {time.monotonic() - began:.1f} s after SIGTERM")


@contextmanager
def container(
    bundle: Path,
    root: Path,
    image: Mapping[str, Any],
    args: Sequence[str],
    *,
    uid: int,
    mounts: Mapping[str, Path] | None = None,
    writable: frozenset[str] = frozenset(),
    scratch: str | None = None,
) -> "Iterator[subprocess.Popen[str]]":
    """Run the image; kills it at the end if it still runs."""
    bundle.mkdir()
    mounted = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        *(
            {
                "destination": place,
                "type": "bind",
                "source": str(source.resolve()),
                "options": ["bind", "rw" if place in writable else "ro"],
            }
            for place, source in (mounts or {}).items()
        ),
    ]
    if scratch:
        mounted.append(
            {"destination": scratch, "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}
        )
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": 0},
            "args": [*image["Entrypoint"], *args],
            "env": image["Env"],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}],
        },
        "root": {"path": str(root), "readonly": True},
        "mounts": mounted,
        "linux": {
            "namespaces": [{"type": each} for each in ("pid", "ipc", "uts", "mount")],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
            "readonlyPaths": ["/proc/sys", "/proc/bus", "/proc/irq"],
        },
    }
    (bundle / "config.json").write_text(json.dumps(spec))
    name = f"gigya-credential-proxy-{os.getpid()}-{bundle.name}"
    command = ["runc", "run", "--bundle", str(bundle), "--pid-file", str(bundle / "pid"), name]
    with (bundle / "out").open("w") as out, (bundle / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        try:
            yield process
        except BaseException:
            print((bundle / "err").read_text(), file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                subprocess.run(["runc", "kill", name, "KILL"], check=False)
                process.wait(SECONDS)


def pid_of(bundle: Path) -> int:
    """Return the process id of the container's process 1, as this machine sees it."""
    return int((bundle / "pid").read_text())


def process_status(bundle: Path) -> dict[str, str]:
    """Return what the kernel says of process 1, and the ``options`` of its root."""
    proc = Path(f"/proc/{pid_of(bundle)}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    mounts = [line.split() for line in (proc / "mountinfo").read_text().splitlines()]
    writable = [m[4] for m in mounts if m[5].startswith("rw") and not m[4].startswith("/proc")]
    root = next(m[5] for m in mounts if m[4] == "/")
    return {**status, "options": root if not writable else f"rw,{writable}"}


def ask(uid: str, provider: str) -> tuple[int, Any]:
    """Ask the proxy for provider tokens; return status and body."""
    token = (COMPOSE / "token").read_text().strip()
    body = {"uid": uid, "provider": provider}
    return post(f"{API}/v1/provider-tokens", body, {"Authorization": f"Bearer {token}"})


def gigyas_own(uid: str, provider: str) -> str:
    """Return the token that the simulator has, asked for without encryption."""
    config = (COMPOSE / "proxy/config.yaml").read_text()
    form = {
        "apiKey": re.findall(r"api_key: (\S+)", config)[0],
        "userKey": re.findall(r"user_key: (\S+)", config)[0],
        "secret": (COMPOSE / "proxy/user-secret").read_text().strip(),
        "UID": uid,
        "provider": provider,
    }
    data = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"{GIGYA}/socialize.getSessionInfo", data, SECONDS) as answer:
        token: str = json.load(answer)["authToken"]
    return token


def post(url: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Post JSON; return status and body."""
    whole = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), whole)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def wait_for_port(port: int) -> None:
    """Return when something listens at a port of loopback."""
    give_up = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > give_up:
                hold(False, f"something listens at port {port}")  # noqa: FBT003  # nothing does
            time.sleep(0.1)
        else:
            return


def wait_for(url: str, *, status: int = 200) -> None:
    """Return when ``url`` answers with ``status``."""
    give_up = time.monotonic() + SECONDS
    while status_of(url) != status:
        if time.monotonic() > give_up:
            hold(False, f"{url} answered {status}")  # noqa: FBT003  # it never did
        time.sleep(0.05)


def status_of(url: str) -> int | None:
    """Return the status of an answer, or nothing."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: int = answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
