"""Other edges in front of the same shop: nginx, and none."""

from __future__ import annotations

import os
from pathlib import Path

from lib import cpu
from lib.servers import render
from lib.stack import BASE, Stack


class DhalStack(Stack):
    """A shop behind Dhal, whose configuration has a section `[server]` of its own."""

    def configure(self, config: str) -> None:
        text = config + BASE[BASE.index("[admin]") :]
        (self.folder / "dhal.toml").write_text(text.format(dir=self.folder, **self.ports))


class NginxStack(Stack):
    """A shop behind nginx; the configuration is the text of a template of `peers/`, where places and ports go in."""

    def configure(self, config: str) -> None:
        ports = {"PORT": self.ports["http"], "TLS_PORT": self.ports["https"], "SHOP": self.ports[self.shop_names[0]]}
        files = {"DIR": self.folder, "CERT": self.folder / "dev.pem", "KEY": self.folder / "dev.key"}
        values = {name: str(value) for name, value in (ports | files).items()}
        variants = {"root"} if os.geteuid() == 0 else set()
        self.file = self.folder / "nginx.conf"
        self.file.write_text(render(config, values, variants))

    def edge_command(self) -> list[str | Path]:
        return ["nginx", "-c", self.file, "-e", self.folder / "edge.log"]

    def metrics(self) -> dict[str, float]:
        return {}


class BareStack(Stack):
    """A shop that visitors ask themselves, in plain HTTP/1.1."""

    def configure(self, config: str) -> None:
        del config

    def edge_command(self) -> list[str | Path]:
        return []

    def load_words(self) -> list[str | Path]:
        return ["--http", self.address(self.shop_names[0])]

    def metrics(self) -> dict[str, float]:
        return {}


def memory_bytes(stack: Stack) -> int:
    """What the edge's processes hold."""
    if not stack.edge:
        return 0
    return 1024 * cpu.memory_kib(cpu.process_tree([stack.edge.pid]))
