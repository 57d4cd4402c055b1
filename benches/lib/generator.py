"""The load generator in a run of its own process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from lib.stack import Failed, Stack

SCENARIOS = Path(__file__).parent.parent / "scenarios"


class Load:
    """A run of `dhal-load`; `words` are further options of it, `name` is what its files are called."""

    def __init__(self, stack: Stack, scenario: Path, words: list[str], verbose: bool, name: str = "report") -> None:
        self.folder, self.name = stack.folder, name
        self.svg = stack.folder / f"{name}.svg"
        command: list[str | Path] = [
            stack.binaries / "dhal-load", "--scenario", scenario, *stack.load_words(), *words,
            "--json", stack.folder / f"{name}.json", "--svg", self.svg, "--orders", stack.folder / "orders",
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.said: list[str] = []
        self.begun = threading.Event()
        self.reader = threading.Thread(target=self._read, args=(verbose,), daemon=True)
        self.reader.start()

    def _read(self, verbose: bool) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if verbose or line.startswith("warning"):
                print(line, end="", file=sys.stderr, flush=True)
            if not line.startswith("warning"):
                self.begun.set()
        self.begun.set()

    def wait_for_start(self) -> None:
        """Until a second of load is over: what the generator asks for before is not part of the run."""
        self.begun.wait(300)
        if self.process.poll() not in (None, 0):
            raise Failed(f"the load generator ended: {''.join(self.said[-5:])}")

    def finish(self) -> tuple[dict[str, Any], str]:
        """Its report, and its table."""
        assert self.process.stdout is not None
        table = self.process.stdout.read()
        self.reader.join()
        if self.process.wait():
            raise Failed(f"the load generator failed: {''.join(self.said[-5:])}")
        return json.loads((self.folder / f"{self.name}.json").read_text()), table

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
