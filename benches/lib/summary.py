"""Rounds in, the figures of a run out: plain data, as it stands in the JSON file."""

import platform
import re
import statistics
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lib.measure import Measured, Round
from lib.works import Work

# A round whose core did this much for others is worth less.
FOREIGN_SHARE_MAX = 0.10

Figures = dict[str, Any]


def ratio(values: list[float], baseline: list[float]) -> Figures | None:
    """Round against round: the median of the ratios, and their range."""
    pairs = [value / base for value, base in zip(values, baseline) if base > 0]
    if not pairs:
        return None
    return {"median": round(statistics.median(pairs), 3), "min": round(min(pairs), 3), "max": round(max(pairs), 3)}


def _edge(rounds: list[Round], baseline: list[Round], limit: list[Round]) -> Figures:
    values = [one.value for one in rounds]
    names = list(dict.fromkeys(name for one in rounds for name in one.latency_us))
    trouble = sorted({what for one in rounds for what in one.trouble})
    disturbed = sum(one.foreign + one.stolen > FOREIGN_SHARE_MAX for one in rounds)
    return {
        "value": round(statistics.median(values), 2),
        "points": rounds[0].points,
        "left": rounds[0].left if rounds[0].left is None else round(rounds[0].left, 1),
        "rounds": [round(value, 2) for value in values],
        "ratio": ratio(values, [one.value for one in baseline]),
        "ratio_to_limit": ratio(values, [one.value for one in limit]),
        "requests": sum(one.requests for one in rounds),
        "requests_per_second": round(statistics.median(one.requests_per_second for one in rounds)),
        "latency_us": {
            name: round(statistics.median(one.latency_us[name] for one in rounds if name in one.latency_us), 1)
            for name in names
        },
        "busy": round(statistics.median(one.busy for one in rounds), 2),
        "disturbed_rounds": disturbed,
        "trouble": trouble,
    }


def row(work: Work, measured: Measured) -> Figures:
    """The figures of one row."""
    limit = measured.rounds.get("limit", [])
    return {
        "work": work.key,
        "title": work.title,
        "unit": work.unit,
        "bases": work.bases,
        "goal_ratio": work.goal_ratio,
        "goal_value": work.goal_value,
        "edges": {
            edge: _edge(rounds, measured.rounds.get(work.base_of(edge), []), limit)
            for edge, rounds in measured.rounds.items()
        },
        "tls": measured.tls,
        "failed": measured.failed,
    }


def has_trouble(rows: list[Figures]) -> bool:
    """Whether an answer was missing or wrong anywhere."""
    return any(row["failed"] or any(edge["trouble"] for edge in row["edges"].values()) for row in rows)


def today() -> str:
    """The date of a run."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _first_version(command: list[str]) -> str | None:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found[0] if found else None


def environment(dhal: Path) -> Figures:
    """What the figures depend on, and nothing that names the machine."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.+)$", info, re.MULTILINE)
    kernel = re.match(r"[\d.]+", platform.release())
    versions = {
        "dhal": [str(dhal), "version"],
        "nginx": ["nginx", "-v"],
        "haproxy": ["haproxy", "-v"],
        "varnish": ["varnishd", "-V"],
        "wrk": ["wrk", "-v"],
        "h2load": ["h2load", "--version"],
        "openssl": ["openssl", "version"],
    }
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": info.count("processor\t:"),
        "kernel": f"{platform.system()} {kernel[0] if kernel else ''}".strip(),
        "versions": {name: _first_version(command) for name, command in versions.items()},
    }
