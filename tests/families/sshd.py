"""A real sshd on loopback: its own configuration, keys and home, as the user who tests."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.families.outside import closed_port

PROGRAM = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or "/usr/sbin/sshd"


@dataclass
class Sshd:
    """`private_key` lets in; `other_key` does not. `known_hosts`: a line of its host key."""

    port: int
    home: Path
    folder: Path
    private_key: str
    other_key: str
    fingerprint: str
    process: subprocess.Popen[bytes]

    @property
    def user(self) -> str:
        return getpass.getuser()

    @property
    def host_key(self) -> str:
        return " ".join((self.folder / "host.pub").read_text().split()[:2])

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key}"

    def settings(self, **changed: object) -> dict[str, object]:
        return {
            "host": "127.0.0.1", "port": self.port, "username": self.user, "key_secret": "ssh-key",
            "known_hosts": self.known_hosts, "allow_networks": ["127.0.0.0/8"], **changed,
        }  # fmt: skip

    def sessions(self) -> list[int]:
        """Process ids of the children that serve one connection each."""
        found = subprocess.run(
            ["/usr/bin/pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in found.stdout.split()]


def new_key(path: Path) -> str:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)],
        check=True,
    )
    return path.read_text()


def config(folder: Path, port: int, home: Path) -> str:
    return "\n".join([
        f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/authorized",
        "StrictModes no", "UsePAM no", "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PidFile none",
        "PermitRootLogin yes", "MaxStartups 100", "MaxSessions 100",
        f'SetEnv HOME="{home}" PATH="{home}/bin:/usr/bin:/bin"', "",
    ])  # fmt: skip


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[Sshd]:
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    home = folder / "home of it"
    home.mkdir(parents=True)
    new_key(folder / "host")
    private, other = new_key(folder / "client"), new_key(folder / "other")
    (folder / "authorized").write_text((folder / "client.pub").read_text())
    port = closed_port()
    (folder / "sshd_config").write_text(config(folder, port, home))
    command = [PROGRAM, "-D", "-e", "-f", str(folder / "sshd_config")]
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(folder / "host.pub")],
        capture_output=True,
        text=True,
        check=True,
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _listens(port, process, folder)
            yield Sshd(port, home, folder, private, other, shown.stdout.split()[1], process)
        finally:
            process.kill()
            process.wait()


def _listens(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, (folder / "log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.05):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError((folder / "log").read_text())
