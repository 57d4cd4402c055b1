"""Figures of a run in which shops fail, what is wanted of them, and a customer who wants to order all the while."""

from __future__ import annotations

import http.client
import re
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib import cpu
from lib.stack import Failed, answers, summed

# The budget's reserve, which is there however few requests there were; see proxy/src/upstream/budget.rs.
RESERVE = 10
OUTAGES = ("outage", "sessions")
# Orders on their way when the shops are killed: they may have been taken, so nobody may send them again.
UNDER_WAY_MAX = 5
P99_FACTOR = 3.0
REUSED_MIN = 0.99
TRY_EVERY = 0.05
PATIENCE = 60.0


@dataclass
class Figure:
    """A line of the table. `reached` is None where nothing is wanted, or it could not be measured."""

    run: str
    what: str
    value: str
    wanted: str = ""
    reached: bool | None = None
    asserted: bool = False

    def verdict(self) -> str:
        if self.reached is None:
            return "not measured" if self.wanted else ""
        return "reached" if self.reached else "MISSED"


def processor_time() -> tuple[float, float]:
    """Busy and all time of the machine's cores, in ticks."""
    ticks = [float(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


@dataclass
class Run:
    """What was seen in one run."""

    name: str
    before: dict[str, float]
    budget_percent: int
    after: dict[str, float] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    table: str = ""
    # What was done to the shops; `killed` once for each time.
    events: list[str] = field(default_factory=list)
    lost_orders: int = 0
    # Status and Retry-After of an order while no shop was there.
    checkout_during: tuple[int, str | None] | None = None
    # Seconds from the start of the shops, and from when one of them answered by itself.
    recovered_after: tuple[float, float] | None = None
    # The machine's share, and cores that processes took which lived through the run.
    busy: float = 0.0
    cores: dict[str, float] = field(default_factory=dict)

    def watch(self, pids: dict[str, int]) -> Callable[[], None]:
        """Begins to look at the processor; what is returned ends it."""
        began, ticks = time.monotonic(), processor_time()
        spent = {name: cpu.process_seconds(pid) for name, pid in pids.items()}

        def end() -> None:
            busy, whole = (now - then for now, then in zip(processor_time(), ticks))
            self.busy = busy / max(whole, 1.0)
            for name, pid in pids.items():
                try:
                    self.cores[name] = (cpu.process_seconds(pid) - spent[name]) / (time.monotonic() - began)
                except OSError:
                    # It was killed, as the run wanted.
                    continue

        return end

    def rise(self, name: str) -> float | None:
        """By how much a counter rose; nothing if this edge does not have it."""
        after = summed(self.after, name)
        return None if after is None else after - (summed(self.before, name) or 0.0)

    def kept_up(self) -> bool:
        """Whether the generator did."""
        return bool(self.report["generator"]["kept_up"])

    def p99(self) -> dict[str, float]:
        """Of safe requests by protocol, in milliseconds."""
        groups = self.report["by_protocol"].items()
        return {name.removesuffix(" safe"): group["p99_ms"] for name, group in groups if name.endswith(" safe")}

    def figures(self, calm: Run | None) -> list[Figure]:
        """All lines of this run; `calm` is the reference of times."""
        safe, changing = self.report["safe"], self.report["changing"]
        found = []

        def add(what: str, value: str, wanted: str = "", reached: bool | None = None, asserted: bool = False) -> None:
            found.append(Figure(self.name, what, value, wanted, reached, asserted))

        if self.name in OUTAGES:
            failed = self.report["failed_though_stored"]
            add("failed requests for what had been stored", str(failed), "0", failed == 0, True)
            by_step = self.report["by_step"]
            failed = sum(not_served(by_step[step]) for step in ("product", "home", "category") if step in by_step)
            add("failed pages (home, categories, products)", str(failed), "0", failed == 0, True)
            stored = self.report["stored"]
            add("answers of the store beyond their time; of these by the shop window",
                f"{stored.get('stale', 0) + stored.get('shop-window', 0):,}; {stored.get('shop-window', 0):,}")
            self._checkouts(add, by_step)
        else:
            share = f"{not_served(safe)} of {safe['requests']:,}"
            add("failed safe requests", share, "0", not_served(safe) == 0, True)
        if self.name != "steady":
            share = f"{not_served(changing)} of {changing['requests']:,}"
            add("failed changing requests", share + told(changing["fates"]))
        if self.name == "trouble":
            self._events(add)
        self._times(add, calm)
        if self.name != "steady":
            add("acknowledged orders that are lost", f"{self.lost_orders} of {self.report['orders']:,}", "0",
                self.lost_orders == 0, True)
        self._connections(add)
        if self.cores:
            took = ", ".join(f"{name} {cores:.0%}" for name, cores in self.cores.items())
            add("of a core", f"{took}; machine {self.busy:.0%} busy")
        generator = self.report["generator"]
        add("late starts of the load generator",
            f"{generator['late_share']:.2%}, {generator['cpu_share']:.0%} of a core", "kept up", self.kept_up())
        return found

    def _checkouts(self, add: Any, by_step: dict[str, Any]) -> None:
        other = sum(
            count
            for step in ("add", "checkout-form", "checkout") if step in by_step
            for fate, count in by_step[step]["fates"].items() if fate not in ("503-retry-after", "conflict")
        )
        friendly = sum(by_step[step]["fates"].get("503-retry-after", 0)
                       for step in ("add", "checkout-form", "checkout") if step in by_step)
        add("cart and checkout: 503 with Retry-After; other failures", f"{friendly}; {other}",
            f"≤ {UNDER_WAY_MAX} others, under way at the kill", other <= UNDER_WAY_MAX)
        if self.checkout_during:
            status, after = self.checkout_during
            add("an order during the outage", f"{status}, Retry-After {after}", "503 with Retry-After",
                status == 503 and after is not None)
        if self.recovered_after:
            start, shop = self.recovered_after
            add("first order after the shops' start", f"{start:.2f} s; {shop:.2f} s after a shop answers by itself")

    def _events(self, add: Any) -> None:
        kills = self.events.count("killed")
        others = [event for event in self.events if event != "killed"]
        add("what happened", f"killed {kills} times; {'; '.join(others)}", "a kill every 3 s, hung, deployed",
            kills > 5 and others == ["hung", "deployed"])

    def _times(self, add: Any, calm: Run | None) -> None:
        for protocol, p99 in self.p99().items():
            if self.name != "trouble" or calm is None:
                add(f"p99 of safe requests, {protocol}", f"{p99:.1f} ms")
                continue
            reference = calm.p99().get(protocol, 0.0)
            # A generator that did not keep up has measured the machine.
            is_known = reference > 0 and calm.kept_up() and self.kept_up()
            add(f"p99 of safe requests, {protocol}", f"{p99:.1f} ms, calm {reference:.1f} ms",
                f"≤ {P99_FACTOR:.0f} times calm", p99 <= P99_FACTOR * reference if is_known else None)

    def _connections(self, add: Any) -> None:
        opened = self.rise("dhal_upstream_connections_opened_total")
        reused = self.rise("dhal_upstream_connections_reused_total")
        charged = self.rise("dhal_upstream_retries_charged_total")
        all_retries = self.rise("dhal_upstream_retries_total")
        if opened is None or reused is None:
            # Without its counters nothing can be said of shares.
            add("retries at the shops", f"{all_retries or 0:.0f}", "≤ the budget", None)
            return
        requests = opened + reused
        if self.name == "steady":
            share = reused / max(requests, 1.0)
            add("requests to shops on kept connections", f"{share:.2%} of {requests:,.0f}", f"> {REUSED_MIN:.0%}",
                share > REUSED_MIN)
        retries = charged if charged is not None else all_retries or 0.0
        budget = RESERVE * 10 + requests * self.budget_percent / 100
        add("retries charged, all retries, requests to shops",
            f"{retries:.0f}, {all_retries or 0:.0f}, {requests:,.0f}",
            f"charged ≤ {self.budget_percent} % + {RESERVE * 10}", retries <= budget, True)

    def summary(self) -> dict[str, Any]:
        """For the JSON file: the report without its seconds."""
        return {key: value for key, value in self.report.items() if key != "per_second"} | {"events": self.events}


def not_served(group: dict[str, Any]) -> int:
    """Requests that failed or were refused: a friendly refusal is none the less no page."""
    return int(group["failed"]) + int(group.get("refused", 0))


def told(fates: dict[str, int]) -> str:
    """Kinds of failures in brackets."""
    listed = ", ".join(f"{name} {count}" for name, count in fates.items())
    return f" ({listed})" if listed else ""


def table(figures: list[Figure]) -> str:
    """For a terminal."""
    rows = [("run", "figure", "measured", "wanted", "")]
    rows += [(one.run, one.what, one.value, one.wanted, one.verdict()) for one in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def markdown(figures: list[Figure]) -> str:
    """For a document."""
    lines = ["| run | figure | measured | wanted | |", "|---|---|---|---|---|"]
    for one in figures:
        verdict = f"**{one.verdict()}**" if one.reached is False else one.verdict()
        lines.append(f"| {one.run} | {one.what} | {one.value} | {one.wanted} | {verdict} |")
    return "\n".join(lines) + "\n"


class Probe:
    """A customer with a full cart and the order form before him, who asks at the edge's plain port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookie = ""
        _, fields, _ = self._send("POST", "/cart/add", self._form(product=self._some_product(), quantity="1"))
        self.cookie = (fields["Set-Cookie"] or "").partition(";")[0]
        status, _, page = self._send("GET", "/checkout")
        hidden = dict(re.findall(r'name="(csrf|key|total)" value="([^"]*)"', page))
        if status != 200 or len(hidden) != 3:
            raise Failed(f"no order form: {status}")
        address = "House 7, Road 5, Dhanmondi, Dhaka"
        self.order = self._form(name="Probe", phone="01712345678", address=address, **hidden)

    def _some_product(self) -> str:
        _, _, page = self._send("GET", "/products")
        found = re.search(r'href="/products/([^"?]+)"', page)
        if not found:
            raise Failed("no product on /products")
        return found.group(1)

    @staticmethod
    def _form(**fields: str) -> str:
        return urllib.parse.urlencode(fields)

    def _send(self, method: str, path: str, form: str | None = None) -> tuple[int, http.client.HTTPMessage, str]:
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        fields = {"Host": "localhost", "Accept": "text/html"}
        if self.cookie:
            fields["Cookie"] = self.cookie
        if form is not None:
            fields["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            client.request(method, path, form, fields)
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read().decode(errors="replace")
        finally:
            client.close()

    def check_out(self) -> tuple[int, str | None]:
        """Orders; status and Retry-After. Sent again it is the same order, since the form has its key."""
        try:
            status, fields, _ = self._send("POST", "/checkout", self.order)
        except (OSError, http.client.HTTPException):
            return 0, None
        ordered = status == 303 and (fields["Location"] or "").startswith("/orders/")
        return (200 if ordered else status), fields["Retry-After"]

    def first_success(self, began: float, *shops: str) -> tuple[float, float]:
        """Orders until it works. Seconds since `began`, and since one of the shops answered when asked directly."""
        answered = None
        while time.monotonic() < began + PATIENCE:
            if answered is None and any(answers(f"http://{shop}/healthz") for shop in shops):
                answered = time.monotonic()
            status, _ = self.check_out()
            now = time.monotonic()
            if status == 200:
                return now - began, max(0.0, now - (answered or now))
            time.sleep(TRY_EVERY)
        raise Failed(f"no order succeeded within {PATIENCE:.0f} s after the shops' start")
