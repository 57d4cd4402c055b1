"""What is measured: one row of the table each."""

from dataclasses import dataclass, field
from enum import Enum

# How much more than the bare epoll loop Dhal may take on a hit.
GOAL_TO_LIMIT = 1.20
# How much more a hit may cost where there is more of something: routes, connections, threads, stored responses.
GOAL_FLAT = 1.10

KIB, MIB = 1 << 10, 1 << 20
# What ends in .bin is of a type that nobody compresses.
BODY_BYTES = {"1k": KIB, "12k": 12 * KIB, "100k": 100 * KIB, "1m.bin": MIB, "100m.bin": 100 * MIB}


class Load(Enum):
    """How a work is put on a server."""

    H1 = "h1"
    TLS_H1 = "TLS h1"
    TLS_H2 = "h2 over TLS"
    HANDSHAKES = "handshakes"
    IDLE_PLAIN = "idle plain connections"
    IDLE_TLS = "idle TLS connections"
    IDLE_H2 = "idle h2 connections"
    SLOW_READERS = "slow readers"
    STALLED_STREAMS = "stalled h2 streams"

    @property
    def is_plain(self) -> bool:
        """Whether it comes without TLS."""
        return self in (Load.H1, Load.IDLE_PLAIN, Load.SLOW_READERS)

    @property
    def is_memory(self) -> bool:
        """Whether memory is measured, not CPU."""
        return self not in (Load.H1, Load.TLS_H1, Load.TLS_H2, Load.HANDSHAKES)


MEMORY_UNITS = {
    Load.IDLE_PLAIN: "KiB per connection",
    Load.IDLE_TLS: "KiB per connection",
    Load.IDLE_H2: "KiB per connection",
    Load.SLOW_READERS: "KiB per reader",
    Load.STALLED_STREAMS: "MiB",
}


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
    # What a server is compared with where that is not nginx: another variant of itself.
    bases: dict[str, str] = field(default_factory=dict)

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
        return MEMORY_UNITS.get(self.load, "CPU µs per request")

    @property
    def is_pairs(self) -> bool:
        """Whether servers are compared with variants of themselves."""
        return bool(self.bases)

    def base_of(self, edge: str) -> str:
        """The server that this one is compared with."""
        return self.bases.get(edge, edge if self.is_pairs else "nginx")


PLAIN = ("nginx", "dhal", "haproxy", "varnish")
PLAIN_AND_LIMIT = PLAIN + ("limit",)
TLS = ("nginx", "dhal", "haproxy")


def _pairs(*names: str) -> dict[str, str]:
    """`kind-variant` beside `kind`."""
    return {name: name.partition("-")[0] for name in names}


WORKS = (
    Work("hit-h1-1k", "hit, h1, 1 KiB", Load.H1, "1k", PLAIN_AND_LIMIT, 0.45),
    Work("hit-h1-12k", "hit, h1, 12 KiB", Load.H1, "12k", PLAIN_AND_LIMIT, 0.62),
    Work("hit-h1-100k", "hit, h1, 100 KiB", Load.H1, "100k", PLAIN_AND_LIMIT, 0.66),
    Work("hit-tls-12k", "hit, TLS h1, 12 KiB", Load.TLS_H1, "12k", TLS, 0.50),
    Work("hit-h2-12k", "hit, h2 over TLS, 12 KiB", Load.TLS_H2, "12k", TLS, 0.70),
    Work("hit-h2-1k", "hit, h2 over TLS, 1 KiB", Load.TLS_H2, "1k", TLS, 0.55),
    Work("pass-h1-12k", "pass-through, h1, 12 KiB", Load.H1, "12k", PLAIN, 0.85, cached=False),
    Work("handshake", "full TLS 1.3 handshake, P-256", Load.HANDSHAKES, "1k", TLS, 0.42),
    Work("added", "limits, metrics and access log to none, hit of 12 KiB", Load.H1, "12k",
         ("dhal", "dhal-observed"), 1.10, bases=_pairs("dhal-observed")),
    Work("flat-routes", "1,000 routes to 1, hit of 1 KiB", Load.H1, "1k",
         ("dhal", "dhal-routes"), GOAL_FLAT, bases=_pairs("dhal-routes")),
    Work("flat-open", "10,000 idle connections beside to 10, hit of 1 KiB", Load.H1, "1k",
         ("dhal", "dhal-open"), GOAL_FLAT, bases=_pairs("dhal-open")),
    Work("flat-threads", "two threads to one, hit of 1 KiB", Load.H1, "1k",
         ("dhal-one", "dhal-two", "nginx-one", "nginx-two"), GOAL_FLAT,
         bases={"dhal-two": "dhal-one", "nginx-two": "nginx-one"}),
    Work("idle-tls", "memory per idle TLS connection", Load.IDLE_TLS, "1k", TLS, goal_value=12.0),
    Work("idle-plain", "memory per idle plain connection", Load.IDLE_PLAIN, "1k", PLAIN, goal_value=4.0),
    Work("idle-h2", "memory per idle h2 connection", Load.IDLE_H2, "1k", TLS),
    Work("slow-stored", "memory per slow reader, stored", Load.SLOW_READERS, "100m.bin", PLAIN, goal_value=32.0),
    Work("slow-pass", "memory per slow reader, passed through", Load.SLOW_READERS, "100m.bin",
         # Varnish would fetch all of it for each reader: 5 GiB.
         ("nginx", "dhal", "haproxy"), goal_value=32.0, cached=False),
    Work("stalled-stored", "2,000 stalled h2 streams, stored", Load.STALLED_STREAMS, "1m.bin", TLS, goal_value=64.0),
    Work("stalled-pass", "2,000 stalled h2 streams, passed through", Load.STALLED_STREAMS, "1m.bin", TLS,
         goal_value=64.0, cached=False),
)
