"""The edges' configurations for the sale day: what is recommended for a shop whose capacity is known."""

from __future__ import annotations

import tomllib
from typing import Any

from lib.generator import SCENARIOS
from lib.sale import Best
from lib.servers import PEERS

# Parts that can be left out, to see what each is worth.
PARTS = ("rooms", "concurrency", "limits", "connections")

# How long somebody who is quiet keeps his place, in seconds. Longer than anybody of the scenario thinks: eight times
# two seconds. A real shop gives minutes, and needs a plateau of hours to be measured.
STAY = 20

# What somebody asks the shop for before he has a cart, and what nginx lets in newcomers by.
NEWCOMERS = ("add", "search")

SERVER = """\
[server]
threads = 1
max_connections = 20000
"""
CONNECTIONS = """\
max_connections_per_client = 200
min_receive_rate = "240B/s"
min_send_rate = "240B/s"
rate_grace = "5s"
"""
UPSTREAM = """\
[upstreams.shop]
servers = ["127.0.0.1:{shop1}"]
health_check = {{ path = "/healthz", interval = "1s", timeout = "1s" }}
timeouts = {{ response = "10s" }}
shop_window = "1h"
"""
CONCURRENCY = "concurrency = true\n"
# What one visitor may ask of the shop itself.
LIMIT = """\
[limits.visitor]
rate = "10/s"
burst = 60
"""
LIMIT_KEYS = """\
key = ["client-ip"]
count = "origin"
"""
CACHE = """\
[cache.policies.pages]
ttl = "60s"
stale_while_revalidate = "30s"
stale_if_error = "10m"
ignore_query = ["utm_*", "fbclid", "gclid"]
"""
ROOM = """\
[waiting_rooms.sale]
capacity = {capacity}
rate = "{rate}/m"
stay = "{stay}s"
"""
HEALTH = "/healthz"
STORED = ("/", "/products", "/products/*", "/categories/*", "/images/*", "/static/*")
CLASSES = {"/cart": "cart", "/cart/*": "cart", "/checkout": "checkout", "/orders/*": "checkout", "/search": "browse"}
# A picture is part of a page, and who sees the page is inside; checks wait nowhere.
WITHOUT_ROOM = ("/images/*", "/static/*", HEALTH)


def _route(path: str | None, stored: bool, without: frozenset[str]) -> str:
    lines = ["[[routes]]", 'upstream = "shop"']
    if path:
        lines.insert(1, f'path = "{path}"')
    if stored:
        lines.append('cache = "pages"')
    # Without `count = "origin"` a limit would count hits as well, which come by the dozen.
    if not stored or "limits" not in without:
        lines.append('limits = ["visitor"]')
    if "concurrency" not in without:
        lines.append(f'class = "{CLASSES.get(path or "", "browse")}"')
    if "rooms" not in without and path not in WITHOUT_ROOM:
        lines.append('waiting_room = "sale"')
    return "\n".join(lines) + "\n"


def dhal(best: Best | None, without: frozenset[str]) -> str:
    """All of Dhal's but listeners and certificates. Without a `best` there is no room, whatever is wanted."""
    if best is None:
        without |= {"rooms"}
    parts = [SERVER, "" if "connections" in without else CONNECTIONS, UPSTREAM]
    if "concurrency" not in without:
        parts.append(CONCURRENCY)
    parts += [LIMIT, "" if "limits" in without else LIMIT_KEYS, CACHE]
    if best is not None and "rooms" not in without:
        # Those inside are those who shop and those who have gone and are not missed yet; a third more, since the
        # rate is the bound that is meant.
        capacity = round(best.rate * (best.stay + STAY) * 1.33)
        parts.append(ROOM.format(capacity=capacity, rate=int(best.rate * 60), stay=STAY))
    parts.append(_route(None, False, without))
    parts += [_route(path, False, without) for path in (HEALTH, *CLASSES)]
    parts += [_route(path, True, without) for path in STORED]
    return "".join(parts)


def newcomers_each(scenario: dict[str, Any]) -> float:
    """Requests that put something into a cart or search, of a visitor of the scenario on average."""
    kinds = scenario["visitors"]
    found = 0.0
    for kind in kinds:
        for step in kind["steps"]:
            if step["do"] in NEWCOMERS:
                times = step.get("times", 1)
                mean = sum(times) / 2 if isinstance(times, list) else times
                found += kind["share"] * step.get("chance", 1.0) * mean
    return float(found / sum(kind["share"] for kind in kinds))


def nginx(capacity: int, best: Best) -> str:
    """The template of nginx's, with what the shop can do: the same that Dhal's room is told.

    Carts and searches begin at the rate at which they began when the shop did its best; what follows from them may take
    all of the shop. Two seconds' worth of each may wait.
    """
    scenario = tomllib.loads((SCENARIOS / "sale-opening.toml").read_text())
    newcomers = best.rate * newcomers_each(scenario)
    values = {
        "@NEWCOMERS@": round(60 * newcomers), "@NEWCOMERS_BURST@": round(2 * newcomers),
        "@CAPACITY@": capacity, "@BURST@": 2 * capacity,
    }
    text = (PEERS / "sale-nginx.conf").read_text()
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text
