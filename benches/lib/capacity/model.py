"""From what single things cost to what an opening needs and a host has. All formulas of docs/capacity.md."""

import math
from dataclasses import dataclass
from typing import Any

Figures = dict[str, Any]
Assumed = dict[str, Any]

KIB_PER_GIB = 1 << 20
KIB_PER_MIB = 1 << 10
# The edge keeps one for an upstream connection of every visitor's: `docs/connections.md`.
DESCRIPTORS_EACH = 2


@dataclass(frozen=True)
class Plan:
    """A way to open: everybody goes in, or most wait in the room."""

    key: str
    title: str
    room: bool


OPEN = Plan("open", "everybody at once", False)
ROOM = Plan("room", "through the waiting room", True)
PLANS = (OPEN, ROOM)


@dataclass(frozen=True)
class Need:
    """What the opening takes of one thing, and how it was reckoned."""

    key: str
    title: str
    unit: str
    amount: float
    formula: str


@dataclass(frozen=True)
class Bound:
    """What a host has of one thing, and how many visitors fill it."""

    key: str
    title: str
    share: float
    visitors: float

    @property
    def is_setting(self) -> bool:
        """Whether an operator set it, and not the host."""
        return self.key in ("connections", "descriptors")


class Model:
    """Measured figures and assumptions."""

    def __init__(self, figures: Figures, assumed: Assumed) -> None:
        self.figures, self.assumed = figures, assumed
        self.costs: Figures = figures["costs"]
        first, second = figures["shop"]["views"]
        self.first, self.second = first, second

    def us(self, key: str) -> float:
        """Of a host's virtual CPU for one of a kind, what schedstat does not see included."""
        host = self.assumed["machine"]["cpu_factor"] / (1 - self.assumed["wire"]["not_edge_share"])
        return float(self.costs[key]["us"]) * host

    @property
    def polls_are_measured(self) -> bool:
        """Whether the binary had a waiting room."""
        return "poll-h2" in self.costs

    def poll_bytes(self) -> float:
        """What a poll receives."""
        return float(self.figures.get("room", {}).get("poll_bytes") or self.assumed["room"]["poll_bytes"])

    def poll_seconds(self) -> float:
        """Between two polls of a visitor far from the front: evenly spread between the bounds."""
        return float(sum(self.assumed["room"]["poll_seconds"]) / 2)

    def slots(self) -> float:
        """Connections that one node holds at once; each has a descriptor kept for its upstream besides its own."""
        machine = self.assumed["machine"]
        return float(min(machine["max_connections"], machine["descriptors"] / DESCRIPTORS_EACH))

    def polls_shed(self, plan: Plan, visitors: float, nodes: int = 1) -> float:
        """The share of polls that find their connection closed in favour of somebody else's.

        The one idle for longest goes first. So a connection stays for as long as those used since then leave slots: with
        pauses even between `least` and `most`, until `late` before the longest pause is over, where
        pollers × (mean - late² / 2 / (most - least)) / mean = slots. Who pauses for longer comes back to a closed one.
        """
        inside = self._inside(plan, visitors)
        pollers = (visitors - inside) / nodes
        # Those inside click more often than others poll. A second connection of a browser is idle for longest, and goes.
        free = max(0.0, self.slots() - inside / nodes)
        if pollers <= free:
            return 0.0
        least, most = self.assumed["room"]["poll_seconds"]
        if least == most:
            return 1.0
        late = math.sqrt(2 * (most - least) * self.poll_seconds() * (1 - free / pollers))
        return min(1.0, late / (most - least))

    def polls_new(self, plan: Plan, visitors: float, nodes: int = 1) -> float:
        """The share of polls that begin with a handshake: those of networks that change, and those that were shed."""
        moved = float(self.assumed["room"]["poll_new_connection_share"])
        return moved + (1 - moved) * self.polls_shed(plan, visitors, nodes)

    def poll_us(self, new: float) -> float:
        """A poll, a share of them over a new connection. Where none could be measured, a refusal stands in."""
        kept_key, new_key = ("poll-h2", "poll-new") if self.polls_are_measured else ("refused-h2", "handshake-resumed")
        return (1 - new) * self.us(kept_key) + new * self.us(new_key)

    def connection_us(self) -> float:
        """A new connection without its request, full and resumed as assumed."""
        share = self.assumed["sale"]["resumed_share"]
        full = self.us("first-page") - self.us("hit-h2-12k")
        resumed = self.us("handshake-resumed") - self.us("hit-tls-1k")
        return (1 - share) * full + share * resumed

    def view_us(self, view: Figures) -> float:
        """A page view: the page, and its assets as hits of 12 KiB or of the bytes that they have, if more."""
        large = max(1.0, view["received_bytes"] / view["requests"] / (12 << 10))
        return float(view["requests"]) * self.us("hit-h2-12k") * large

    def visitors(self) -> int:
        return int(self.assumed["sale"]["visitors"])

    def _inside(self, plan: Plan, visitors: float) -> float:
        return min(visitors, self.assumed["room"]["inside"]) if plan.room else visitors

    def _polls(self, plan: Plan, visitors: float) -> float:
        """In the opening: who comes at an even rate is there for half of it on average."""
        waiting = visitors - self._inside(plan, visitors)
        return waiting * self.assumed["sale"]["opening_seconds"] / 2 / self.poll_seconds()

    def needs(self, plan: Plan, visitors: float | None = None, nodes: int = 1) -> list[Need]:
        """What the opening takes, of all nodes together."""
        sale, wire = self.assumed["sale"], self.assumed["wire"]
        count = float(self.visitors() if visitors is None else visitors)
        inside, waiting = self._inside(plan, count), count - self._inside(plan, count)
        connections = count * sale["connections_per_visitor"]
        polls = self._polls(plan, count)
        polls_new = self.polls_new(plan, count, nodes)
        second = sale["second_view_share"]
        views_requests = inside * (self.first["requests"] + second * self.second["requests"])
        # The page that waits is asked for once before it is polled.
        asked = views_requests + waiting
        refused = asked * sale["requests_refused_share"]
        seconds = (
            connections * self.connection_us()
            + inside * (self.view_us(self.first) + second * self.view_us(self.second))
            + waiting * self.poll_us(0.0)
            + refused * self.us("refused-h2")
            + polls * self.poll_us(polls_new)
            + sale["orders_per_second"] * sale["opening_seconds"] * (self.us("order-edge") + self.us("order-shop"))
        ) / 1e6
        out = wire["overhead"] * (
            inside * (self.first["received_bytes"] + second * self.second["received_bytes"])
            + (waiting + polls) * self.poll_bytes()
            # A handshake's certificate and keys.
            + (connections + polls * polls_new) * self.figures["handshake_bytes"]
        )
        h2 = self.figures["connections"]["h2"]
        return [
            Need("handshakes", "handshakes", "", connections + polls * polls_new,
                 "visitors × connections of each, polls on new connections"),
            Need("requests", "requests", "", asked + refused, "page views × their requests, refused ones, waiting pages"),
            Need("polls", "polls", "", polls, "waiting × opening / 2 / time between polls"),
            Need("cpu", "CPU of edge and shop", "s", seconds, "each of the above, and orders, × its cost × the host's factor"),
            Need("connections", "connections", "", connections, "visitors × connections of each"),
            Need("memory", "memory of connections", "MiB", connections * (h2["edge_kib"] + h2["kernel_kib"]) / KIB_PER_MIB,
                 "connections × (edge + kernel)"),
            Need("descriptors", "descriptors", "", connections * DESCRIPTORS_EACH,
                 "a connection's own, and one kept for its upstream"),
            Need("gigabits", "bytes sent", "Gbit", out * 8 / 1e9, "page views, handshakes, waiting pages and polls, with TCP and IP"),
        ]

    def standing_mib(self) -> float:
        """Memory that is taken before anybody comes."""
        machine = self.assumed["machine"]
        own = sum(self.figures["shop"]["memory_mib"].values())
        return float(machine["system_mib"] + machine["cache_mib"] + own)

    def connections_borne(self, host: Assumed) -> tuple[float, float, float]:
        """Of a node: connections that memory and that descriptors bear, and the MiB of as many as the slots are."""
        h2, machine = self.figures["connections"]["h2"], self.assumed["machine"]
        each_mib = (h2["edge_kib"] + h2["kernel_kib"]) / KIB_PER_MIB
        free = host["memory_gib"] * 1024 - self.standing_mib()
        return free / each_mib, machine["descriptors"] / DESCRIPTORS_EACH, machine["max_connections"] * each_mib

    def _shares(self, plan: Plan, host: Assumed, visitors: float) -> dict[str, tuple[str, float]]:
        sale, machine = self.assumed["sale"], self.assumed["machine"]
        need = {need.key: need.amount for need in self.needs(plan, visitors, host["nodes"])}
        nodes, seconds = host["nodes"], sale["opening_seconds"]
        peak = sale["bunching"] / seconds / nodes
        memory = self.standing_mib() + need["memory"] / nodes
        return {
            "cpu": ("CPU in the busiest second", need["cpu"] * peak / host["vcpus"]),
            "baseline": ("network, baseline", need["gigabits"] / seconds / nodes / host["baseline_gbps"]),
            "burst": ("network, burst, in the busiest second", need["gigabits"] * peak / host["burst_gbps"]),
            "memory": ("memory", memory / (host["memory_gib"] * 1024)),
            "connections": ("`server.max_connections`, a setting", need["connections"] / nodes / machine["max_connections"]),
            "descriptors": ("descriptors, a setting", need["descriptors"] / nodes / machine["descriptors"]),
        }

    def bounds(self, plan: Plan, host: Assumed) -> list[Bound]:
        """What fills first comes first."""
        found = []
        for key, (title, share) in self._shares(plan, host, self.visitors()).items():
            found.append(Bound(key, title, share, self._visitors_at(plan, host, key)))
        return sorted(found, key=lambda bound: bound.visitors)

    def _visitors_at(self, plan: Plan, host: Assumed, key: str) -> float:
        """How many visitors fill it: shares only rise with them, so halving finds it."""
        few, many = 0.0, 1e9
        for _ in range(60):
            middle = (few + many) / 2
            few, many = (middle, many) if self._shares(plan, host, middle)[key][1] < 1 else (few, middle)
        return few

    def steady_cores(self, plan: Plan) -> dict[str, float]:
        """Virtual CPUs that the sale takes once everybody is there: polls, browsing inside, orders, and the shop's part."""
        sale = self.assumed["sale"]
        waiting = self.visitors() - self._inside(plan, self.visitors())
        # A page view each thirty seconds is what a person reads.
        views = self._inside(plan, self.visitors()) / 30
        orders = sale["orders_per_second"]
        return {
            "polls": waiting / self.poll_seconds() * self.poll_us(self.polls_new(plan, self.visitors())) / 1e6,
            "page views": views * self.view_us(self.second) / 1e6,
            "orders, edge": orders * self.us("order-edge") / 1e6,
            "orders, shop": orders * self.us("order-shop") / 1e6,
        }

    def steady_gbps(self, plan: Plan) -> float:
        """What it sends then."""
        inside = self._inside(plan, self.visitors())
        each = self.poll_bytes() + self.polls_new(plan, self.visitors()) * self.figures["handshake_bytes"]
        polls = (self.visitors() - inside) / self.poll_seconds() * each
        return float(self.assumed["wire"]["overhead"] * 8 / 1e9 * (inside / 30 * self.second["received_bytes"] + polls))

    def has(self, host: Assumed) -> dict[str, str]:
        """What a host has of each need."""
        seconds, vcpus = self.assumed["sale"]["opening_seconds"], host["vcpus"] * host["nodes"]
        free = host["memory_gib"] * 1024 - self.standing_mib()
        sent = " to ".join(short(host[key] * seconds * host["nodes"]) for key in ("baseline_gbps", "burst_gbps"))
        return {
            "cpu": short(vcpus * seconds),
            "connections": f"{self.slots() * host['nodes']:,.0f}",
            "memory": short(free * host["nodes"]),
            "descriptors": f"{self.assumed['machine']['descriptors'] * host['nodes']:,}",
            "gigabits": sent,
        }

    def credits(self, host: Assumed, cores: float) -> str:
        """How long saved credits last at so many virtual CPUs."""
        if "credits_per_hour" not in host:
            return "no credits: all of it all the time"
        used = min(cores / host["nodes"], host["vcpus"]) * 60
        spent = used - host["credits_per_hour"]
        if spent <= 0:
            return "for ever: below the baseline"
        hours = host["credits_max"] / spent
        return f"{hours:.1f} h from a full balance of {host['credits_max']}"


def short(number: float) -> str:
    """Three digits, and commas."""
    if number == 0:
        return "0"
    rounded = round(number, 2 - math.floor(math.log10(abs(number))))
    digits = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{digits}f}"
