"""Dhal and nginx in the run of changes: reloads, upgrades, and what is to be seen after."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lib import change_config, echo
from lib.change_config import GENERATION, Mistake
from lib.pairs import Pairs
from lib.servers import free_port
from lib.stack import Failed, Stack, wait_until
from lib.visitors import Door, listening

# A new certificate on disk is to be served within two seconds; on a busy machine it may take another.
ROTATION_PATIENCE = 5.0
IN_FORCE_PATIENCE = 10.0
LEAVING_PATIENCE = 20.0
# Beyond the numbers of configurations that are right.
BROKEN_FROM = 1000


def is_alive(pid: int) -> bool:
    """Whether it runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Edge(Stack):
    """Two shops, a server of WebSockets, and an edge that is changed while it serves."""

    name = ""
    file_name = ""
    mistakes: list[Mistake] = []
    # Seconds in which answers may still come from a configuration before.
    settling = 0.0

    def __init__(self, binaries: Path, folder: Path) -> None:
        self.more_ports = {name: free_port() for name in ("extra", "other", "echo")}
        self.folder = folder
        self.pairs = Pairs(folder)
        self.number = 0
        self.reload_seconds = 0.0
        self.before: list[int] = []
        self.echo = subprocess.Popen([sys.executable, echo.__file__, str(self.more_ports["echo"])],
                                     stdin=subprocess.DEVNULL, cwd=Path(echo.__file__).parent.parent)
        try:
            wait_until(lambda: listening(self.more_ports["echo"]), "the server of WebSockets listens")
            super().__init__(binaries, folder, self.text(0))
        except BaseException:
            self._end_echo()
            raise

    def text(self, number: int) -> str:
        """The configuration of a number, ports to be filled in."""
        raise NotImplementedError

    @property
    def file(self) -> Path:
        return self.folder / self.file_name

    def configure(self, config: str) -> None:
        self.file.write_text(config.format(dir=self.folder, **self.ports, **self.more_ports))

    def door(self) -> Door:
        """Where visitors come in."""
        return Door(self.ports["http"], self.ports["https"], self.pairs.context("http/1.1"), self.pairs.context("h2"))

    def shows(self, number: int) -> int:
        """The status of what only the configuration of that number serves: 200 if it is in force, otherwise 403."""
        client = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=10)
        try:
            client.request("GET", GENERATION.format(number=number), headers={"Host": "localhost"})
            answer = client.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            client.close()

    def reload(self) -> subprocess.CompletedProcess[bytes]:
        """Orders it, whatever the file holds."""
        raise NotImplementedError

    def change(self, number: int, rotated: str | None) -> str:
        """A reload of another configuration, perhaps with a new pair. Returns what was wrong; how long it took from the
        order until a request showed it is in `reload_seconds`."""
        before = self.state()
        if rotated:
            self.pairs.rotate(rotated)
        self.configure(self.text(number))
        began = time.monotonic()
        ended = self.reload()
        self.reload_seconds = time.monotonic() - began
        if ended.returncode:
            self.configure(self.text(self.number))
            return f"exit {ended.returncode}: {_said(ended)[:300]}"
        old, self.number = self.number, number
        try:
            self.await_force(old)
            self.reload_seconds = time.monotonic() - began
        except Failed as error:
            return str(error)
        wrong = self.wrong_state_after_reload(before)
        if rotated and not self.holds(lambda: self.pairs.is_served(rotated, self.ports["https"])):
            wrong = wrong or "the certificate of before is served"
        return wrong or self.wrong_listeners()

    def await_force(self, old: int) -> None:
        """Until a request shows the new configuration and the old one no more."""
        wait_until(lambda: self.shows(self.number) == 200 and self.shows(old) == 403,
                   "the new configuration is in force", IN_FORCE_PATIENCE, 0.02)

    def wrong_listeners(self) -> str:
        """Whether the listener that comes and goes is there as configured."""
        wanted = self.number % 4 != 0
        try:
            wait_until(lambda: listening(self.more_ports["extra"]) == wanted, "the other listener", 5)
        except Failed:
            return f"a listener that should {'be there' if wanted else 'have gone'}"
        return ""

    def try_mistake(self, mistake: Mistake) -> tuple[str, str]:
        """A reload that is to be refused. Returns what was wrong, and what was said."""
        before = self.state()
        broken = BROKEN_FROM + self.number
        config = self.text(broken)
        self.configure(mistake.made_in(config))
        ended = self.reload()
        said = _said(ended)
        self.configure(self.text(self.number))
        if ended.returncode != 1:
            wrong = f"exit {ended.returncode}"
        elif not re.search(self.place_pattern(), said):
            wrong = "without its place"
        elif not self.is_unchanged(broken):
            wrong = "another configuration is in force"
        else:
            wrong = self.wrong_state_after_mistake(before)
        return (f"{mistake.name}: {wrong}" if wrong else ""), said

    def is_unchanged(self, broken: int) -> bool:
        """Whether the configuration before the broken one is in force."""
        return self.holds(lambda: self.shows(self.number) == 200 and self.shows(broken) == 403)

    def holds(self, is_so: Callable[[], bool]) -> bool:
        """Whether it is so, at the latest when answers of a configuration before cannot come any more."""
        deadline = time.monotonic() + self.settling
        while not is_so():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True

    def place_pattern(self) -> str:
        """What says where a mistake is."""
        raise NotImplementedError

    def state(self) -> Any:
        """What the edge says about itself."""

    def wrong_state_after_reload(self, before: Any) -> str:
        return ""

    def wrong_state_after_mistake(self, before: Any) -> str:
        return ""

    def rotate(self, name: str) -> str:
        """A new pair on disk and no word to the edge."""
        self.pairs.rotate(name)
        try:
            wait_until(lambda: self.pairs.is_served(name, self.ports["https"]), "served", ROTATION_PATIENCE)
        except Failed:
            return f"the certificate of before is served after {ROTATION_PATIENCE:.0f} s"
        return ""

    def upgrade(self) -> tuple[str, float]:
        """Another process of the program takes over. Returns what was wrong, and the time it took."""
        raise NotImplementedError

    def serving(self) -> int:
        """The process that serves."""
        raise NotImplementedError

    def left_over(self) -> int:
        """Processes of before that are still there, after they had time to leave."""
        try:
            wait_until(lambda: not any(map(is_alive, self.reaped())), "leave", LEAVING_PATIENCE)
        except Failed:
            pass
        return sum(map(is_alive, self.reaped()))

    def reaped(self) -> list[int]:
        if self.edge:
            self.edge.poll()
        return self.before

    def stop(self) -> None:
        for pid in self.edge_pids():
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + LEAVING_PATIENCE
        while any(map(is_alive, self.edge_pids())) and time.monotonic() < deadline:
            if self.edge:
                self.edge.poll()
            time.sleep(0.05)
        super().stop()
        for pid in filter(is_alive, self.edge_pids()):
            os.kill(pid, signal.SIGKILL)
        self._end_echo()

    def edge_pids(self) -> list[int]:
        """All processes of the edge that were seen and live."""
        now = self.edge.pid if getattr(self, "edge", None) else 0
        return [pid for pid in {now, *self.before, *self.last_seen()} if pid and is_alive(pid)]

    def last_seen(self) -> list[int]:
        return []

    def _end_echo(self) -> None:
        self.echo.terminate()
        self.echo.wait()


def _said(ended: subprocess.CompletedProcess[bytes]) -> str:
    return (ended.stderr + ended.stdout).decode(errors="replace").strip()


class DhalEdge(Edge):
    """Dhal, whose orders say what came of them."""

    name, file_name, mistakes = "dhal", "dhal.toml", change_config.DHAL_MISTAKES
    latest = 0

    def text(self, number: int) -> str:
        return change_config.dhal(number)

    def reload(self) -> subprocess.CompletedProcess[bytes]:
        return self.order("reload")

    def place_pattern(self) -> str:
        return re.escape(str(self.file)) + r":\d+:\d+: error: "

    def state(self) -> Any:
        found = self.order("status", "--json")
        if found.returncode:
            raise Failed(f"`dhal status` ended with {found.returncode}: {_said(found)[:300]}")
        state = json.loads(found.stdout)
        self.latest = state["pid"]
        return state

    def wrong_state_after_reload(self, before: Any) -> str:
        after = self.state()
        if after["generation"] != before["generation"] + 1 or not after["last_reload_successful"]:
            return f"generation {after['generation']} after {before['generation']}"
        return ""

    def wrong_state_after_mistake(self, before: Any) -> str:
        after = self.state()
        if after["generation"] != before["generation"]:
            return f"generation {after['generation']} after {before['generation']}"
        return "the refusal is not in the status" if after["last_reload_successful"] else ""

    def serving(self) -> int:
        return int(self.state()["pid"])

    def last_seen(self) -> list[int]:
        return [self.latest]

    def upgrade(self) -> tuple[str, float]:
        old = self.serving()
        began = time.monotonic()
        ended = self.order("upgrade")
        took = time.monotonic() - began
        after = self.state()
        if ended.returncode:
            return f"exit {ended.returncode}: {_said(ended)[:500]}", took
        if after["pid"] == old or not after["ready"]:
            return f"process {after['pid']} serves, as before", took
        self.before.append(old)
        if not is_alive(old):
            return "the old process is gone, with visitors in it", took
        return ("" if self.shows(self.number) == 200 else "another configuration is in force"), took


class NginxEdge(Edge):
    """nginx, whose orders are signals. It leaves its parent at the start, or else it would take no order to upgrade."""

    name, file_name, mistakes = "nginx", "nginx.conf", change_config.NGINX_MISTAKES
    upgrade_patience = 5.0
    # The processes of before answer until they have heard that there are others.
    settling = 3.0

    def text(self, number: int) -> str:
        return change_config.nginx(number, os.geteuid() == 0)

    def edge_command(self) -> list[str | Path]:
        # By its whole path, or else it does not find itself when it is to be upgraded.
        return [shutil.which("nginx") or "nginx", "-c", self.file, "-e", self.folder / "edge.log"]

    def metrics(self) -> dict[str, float]:
        return {}

    def edge_ended(self) -> bool:
        # What was started ends when another process serves.
        return self.edge is not None and self.edge.poll() not in (None, 0)

    def reload(self) -> subprocess.CompletedProcess[bytes]:
        """As careful operators do it: what `nginx -t` finds wrong is not reloaded."""
        tried = subprocess.run([*self.edge_command(), "-t"], check=False, capture_output=True)
        if tried.returncode:
            return tried
        return subprocess.run([*self.edge_command(), "-s", "reload"], check=False, capture_output=True)

    def place_pattern(self) -> str:
        return re.escape(str(self.file)) + r":\d+"

    def serving(self) -> int:
        return int((self.folder / "nginx.pid").read_text())

    def last_seen(self) -> list[int]:
        try:
            return [self.serving()]
        except (OSError, ValueError):
            return []

    def upgrade(self) -> tuple[str, float]:
        """USR2 starts the new program, WINCH and QUIT have the old one leave."""
        old, began = self.serving(), time.monotonic()
        os.kill(old, signal.SIGUSR2)

        def has_taken_over() -> bool:
            try:
                return self.serving() != old and bool(children(self.serving()))
            except (OSError, ValueError):
                return False

        try:
            wait_until(has_taken_over, "a new process", self.upgrade_patience, 0.01)
        except Failed:
            return "the program of before goes on; the signal is ignored", time.monotonic() - began
        os.kill(old, signal.SIGWINCH)
        os.kill(old, signal.SIGQUIT)
        took = time.monotonic() - began
        self.before.append(old)
        is_right = self.is_unchanged(BROKEN_FROM + self.number)
        return ("" if is_right else "another configuration is in force"), took


EDGES: dict[str, type[Edge]] = {"dhal": DhalEdge, "nginx": NginxEdge}
