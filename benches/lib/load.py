"""Load generators: what they are told, and what they say."""

import math
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from lib import tls_client
from lib.servers import Place
from lib.works import Load, Work

H1_CONNECTIONS = 32
H2_CONNECTIONS = 16
H2_STREAMS = 8
PERCENTILES_SCRIPT = Path(__file__).with_name("percentiles.lua")
PERCENTILES = (50, 99, 99.9)
# How long a generator may outlive the time it was given.
OVERTIME_SECONDS = 30


class LoadFailed(Exception):
    """A generator could not run, or said something unexpected."""


@dataclass
class Loaded:
    """What one run of a generator did."""

    requests: int
    seconds: float
    body_bytes_each: float
    failed: int = 0
    latency_us: dict[str, float] = field(default_factory=dict)


def _find(pattern: str, text: str) -> re.Match[str]:
    found = re.search(pattern, text, re.MULTILINE)
    if not found:
        raise LoadFailed(f"no {pattern!r} in:\n{text}")
    return found


def _count(pattern: str, text: str) -> int:
    return int(_find(pattern, text)[1])


_TIME_US = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}
_BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}


def parse_time_us(text: str) -> float:
    """A time as wrk and h2load print it: `535.34us`, `2.23ms`, `1.02s`."""
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if not found:
        raise LoadFailed(f"not a time: {text!r}")
    return float(found[1]) * _TIME_US[found[2]]


def parse_wrk(text: str) -> Loaded:
    """The report of `wrk`, with the percentiles of our script."""
    total = _find(r"^\s*(\d+) requests in ([\d.]+\w+), ([\d.]+)([KMGT]?B) read$", text)
    requests = int(total[1])
    percentiles = _find(r"^percentiles in us:(.*)$", text)[1]
    latency = {f"p{percent}": float(us) for percent, us in re.findall(r"([\d.]+)%=(\d+)", percentiles)}
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(map(int, sockets.groups())) if sockets else 0
    return Loaded(
        requests=requests,
        seconds=parse_time_us(total[2]) / 1e6,
        body_bytes_each=float(total[3]) * _BYTES[total[4]] / max(requests, 1),
        failed=failed + (int(refused[1]) if refused else 0),
        latency_us=latency,
    )


def percentiles_us(times: list[float]) -> dict[str, float]:
    """The value that so many per cent of the times do not exceed."""
    ordered = sorted(times)
    return {f"p{percent:g}": ordered[math.ceil(len(ordered) * percent / 100) - 1] for percent in PERCENTILES}


def parse_h2load(text: str, log: str) -> Loaded:
    """The report of h2load, and its log: a line per request, of which the third column is its microseconds."""
    done = _count(r"^requests: .*?(\d+) succeeded", text)
    answered_2xx = _count(r"^status codes: (\d+) 2xx", text)
    lines = [line.split("\t") for line in log.splitlines()]
    times = [float(us) for _start, status, us, *_ in lines if status != "-1"]
    failed = _count(r"^requests: .*?(\d+) failed", text) + _count(r"^requests: .*?(\d+) errored", text)
    return Loaded(
        requests=done,
        seconds=parse_time_us(_find(r"^finished in ([\d.]+\w+),", text)[1]) / 1e6,
        body_bytes_each=_count(r"\((\d+)\) data$", text) / max(done, 1),
        failed=failed + max(0, done - answered_2xx),
        latency_us=percentiles_us(times) if times else {},
    )


def _run(command: list[str], seconds: int) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + OVERTIME_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise LoadFailed(f"{command[0]} did not end") from late
    if done.returncode != 0:
        raise LoadFailed(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def _wrk(url: str, seconds: int) -> Loaded:
    command = ["wrk", "-t1", f"-c{H1_CONNECTIONS}", f"-d{seconds}s", "-s", str(PERCENTILES_SCRIPT), url]
    return parse_wrk(_run(command, seconds))


def _h2load(place: Place, path: str, seconds: int) -> Loaded:
    log = place.directory / "h2load.log"
    log.unlink(missing_ok=True)
    port = place.tls_port
    command = ["h2load", f"-D{seconds}", "-t1", f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}", f"--log-file={log}",
               f"--connect-to=127.0.0.1:{port}", f"https://localhost:{port}{path}"]
    return parse_h2load(_run(command, seconds), log.read_text())


def _handshakes(place: Place, work: Work, seconds: int) -> Loaded:
    context = tls_client.client_context(place.site.certificate)
    try:
        times = tls_client.handshakes(context, place.tls_port, work.path, work.body_bytes, seconds)
    except (OSError, tls_client.WrongAnswer) as error:
        raise LoadFailed(f"handshake: {error}") from error
    if not times:
        raise LoadFailed(f"no handshake in {seconds} s")
    return Loaded(len(times), sum(times), work.body_bytes, 0, percentiles_us([time * 1e6 for time in times]))


def run_load(work: Work, place: Place, seconds: int) -> Loaded:
    """Puts the work on a server for some seconds."""
    match work.load:
        case Load.H1:
            return _wrk(f"http://127.0.0.1:{place.plain_port}{work.path}", seconds)
        case Load.TLS_H1:
            return _wrk(f"https://localhost:{place.tls_port}{work.path}", seconds)
        case Load.TLS_H2:
            return _h2load(place, work.path, seconds)
        case Load.HANDSHAKES:
            return _handshakes(place, work, seconds)
        case _:
            raise ValueError(f"{work.load.value} are held, not run")
