"""What is measured: one row of the table each."""

from dataclasses import dataclass
from enum import Enum

# How much more than the bare epoll loop Dhal may take on a hit.
GOAL_TO_LIMIT = 1.20

BODY_BYTES = {"1k": 1024, "12k": 12 * 1024, "100k": 100 * 1024}


class Load(Enum):
    """How a work is put on a server."""

    H1 = "h1"
    TLS_H1 = "TLS h1"
    TLS_H2 = "h2 over TLS"
    HANDSHAKES = "handshakes"
    IDLE = "idle connections"


@dataclass(frozen=True)
class Work:
    """One row: a request under a kind of load, the servers that can do it, and the goal Dhal has to reach."""

    key: str
    title: str
    load: Load
    body: str
    edges: tuple[str, ...]
    goal_ratio: float | None = None
    goal_value: float | None = None
    cached: bool = True
    baseline: str = "nginx"

    @property
    def path(self) -> str:
        """The path to request; what lies under /pass/ is never stored."""
        return f"/{self.body}" if self.cached else f"/pass/{self.body}"

    @property
    def body_bytes(self) -> int:
        """The length every answer's body must have."""
        return BODY_BYTES[self.body]

    @property
    def unit(self) -> str:
        """What a row's value counts."""
        return "KiB per connection" if self.load is Load.IDLE else "CPU µs per request"


PLAIN = ("nginx", "dhal", "haproxy", "varnish")
PLAIN_AND_LIMIT = PLAIN + ("limit",)
TLS = ("nginx", "dhal", "haproxy")

WORKS = (
    Work("hit-h1-1k", "hit, h1, 1 KiB", Load.H1, "1k", PLAIN_AND_LIMIT, 0.45),
    Work("hit-h1-12k", "hit, h1, 12 KiB", Load.H1, "12k", PLAIN_AND_LIMIT, 0.62),
    Work("hit-h1-100k", "hit, h1, 100 KiB", Load.H1, "100k", PLAIN_AND_LIMIT, 0.66),
    Work("hit-tls-12k", "hit, TLS h1, 12 KiB", Load.TLS_H1, "12k", TLS, 0.50),
    Work("hit-h2-12k", "hit, h2 over TLS, 12 KiB", Load.TLS_H2, "12k", TLS, 0.70),
    Work("hit-h2-1k", "hit, h2 over TLS, 1 KiB", Load.TLS_H2, "1k", TLS, 0.55),
    Work("pass-h1-12k", "pass-through, h1, 12 KiB", Load.H1, "12k", PLAIN, 0.85, cached=False),
    Work("handshake", "full TLS 1.3 handshake, P-256", Load.HANDSHAKES, "1k", TLS, 0.42),
    Work("idle-tls", "memory per idle TLS connection", Load.IDLE, "1k", TLS, goal_value=12.0),
    Work("added", "added by limits, metrics and access log", Load.H1, "12k", ("dhal", "dhal-observed"), 1.10,
         baseline="dhal"),
)
