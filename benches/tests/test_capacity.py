import copy
import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import tomllib

from lib.capacity import connections, page, shop
from lib.capacity.model import OPEN, ROOM, Model, short
from lib.summary import Figures

COSTS = {"first-page": 310.0, "hit-h2-12k": 10.0, "hit-tls-1k": 8.0, "handshake-resumed": 208.0, "refused-h2": 5.0,
         "order-edge": 100.0, "order-shop": 900.0}
FIGURES: Figures = {
    "date": "2026-11-22",
    "environment": {"cpu": "made up", "kernel": "Linux"},
    "quiet": True,
    "costs": {key: {"title": key, "us": us, "rounds": [us]} for key, us in COSTS.items()},
    "connections": {"h2": {"title": "h2", "edge_kib": 12.0, "kernel_kib": 4.0, "descriptors": 1.0}},
    "handshake_bytes": 1000,
    "room": {"left_out": "unknown key"},
    "shop": {
        "views": [
            {"title": "first", "requests": 10, "html_bytes": 2000, "received_bytes": 100_000, "sent_bytes": 1},
            {"title": "second", "requests": 2, "html_bytes": 2000, "received_bytes": 10_000, "sent_bytes": 1},
        ],
        "order_requests": 5,
        "memory_mib": {"edge": 20.0, "shop1": 12.0},
    },
}


def assumed() -> dict[str, Any]:
    """Round numbers: a millisecond here is one there."""
    return {
        "sale": {"visitors": 1000, "opening_seconds": 60, "bunching": 2.0, "connections_per_visitor": 1.0,
                 "resumed_share": 0.0, "second_view_share": 0.5, "requests_refused_share": 0.0, "orders_per_second": 0},
        "room": {"inside": 100, "poll_seconds": [30, 30], "poll_new_connection_share": 0.0, "poll_bytes": 100},
        "wire": {"overhead": 1.0, "not_edge_share": 0.0},
        "machine": {"system_mib": 500, "cache_mib": 492, "max_connections": 2_000, "descriptors": 10_000,
                    "cpu_factor": 1.0},
        "hosts": [{"name": "small", "nodes": 1, "vcpus": 2, "memory_gib": 2, "baseline_gbps": 0.01, "burst_gbps": 1.0,
                   "credits_per_hour": 24, "credits_max": 576}],
    }


def amounts(model: Model, plan: Any) -> dict[str, float]:
    return {need.key: need.amount for need in model.needs(plan)}


class TheModel(unittest.TestCase):
    def test_everybody_at_once(self) -> None:
        need = amounts(Model(FIGURES, assumed()), OPEN)
        self.assertEqual((need["handshakes"], need["requests"], need["polls"]), (1000, 11_000, 0))
        # 1,000 connections of 300 µs, and 11 hits each.
        self.assertAlmostEqual(need["cpu"], 1000 * (300 + 11 * 10) / 1e6)
        self.assertAlmostEqual(need["memory"], 1000 * 16 / 1024)
        self.assertAlmostEqual(need["gigabits"], 1000 * (100_000 + 5_000 + 1_000) * 8 / 1e9)

    def test_through_the_waiting_room(self) -> None:
        need = amounts(Model(FIGURES, assumed()), ROOM)
        # 900 wait; one poll each, since they are there for half of the minute.
        self.assertEqual((need["handshakes"], need["requests"], need["polls"]), (1000, 1_100 + 900, 900))
        # Where no poll was measured, a refusal stands in.
        self.assertAlmostEqual(need["cpu"], (1000 * 300 + 1_100 * 10 + 900 * 5 + 900 * 5) / 1e6)

    def test_measured_polls_are_taken(self) -> None:
        figures = copy.deepcopy(FIGURES)
        for key, us in (("poll-h2", 50.0), ("poll-new", 500.0)):
            figures["costs"][key] = {"title": key, "us": us, "rounds": [us]}
        model = Model(figures, assumed())
        self.assertTrue(model.polls_are_measured)
        self.assertEqual(model.poll_us(0.0), 50.0)
        self.assertAlmostEqual(model.poll_us(0.1), 95.0)

    def test_polls_lose_their_connections_where_slots_are_few(self) -> None:
        def shed(slots: int, least: float = 20, most: float = 30, nodes: int = 1) -> float:
            own = assumed()
            own["machine"]["max_connections"] = slots
            own["room"]["poll_seconds"] = [least, most]
            return Model(FIGURES, own).polls_shed(ROOM, 1000, nodes)

        # 900 poll, and 100 are inside.
        self.assertEqual(shed(1000), 0.0)
        # Everybody comes back at about the same pace, so that far fewer slots are of use to nobody.
        self.assertEqual(shed(600), 1.0)
        self.assertEqual((shed(999, 30, 30), shed(1000, 30, 30)), (1.0, 0.0))
        self.assertEqual(shed(500, nodes=2), 0.0)
        # Half of the pauses are longer than 25 s: 900 × (25 - 25 / 20) / 25 connections are as young as that.
        self.assertAlmostEqual(shed(100 + 855), 0.5)

    def test_a_poll_that_was_shed_is_a_handshake(self) -> None:
        own = assumed()
        own["machine"]["max_connections"] = 500
        few, enough = (amounts(Model(FIGURES, one), ROOM) for one in (own, assumed()))
        self.assertEqual((few["handshakes"], enough["handshakes"]), (1900, 1000))
        self.assertAlmostEqual(few["cpu"] - enough["cpu"], 900 * (208 - 5) / 1e6)
        self.assertAlmostEqual(few["gigabits"] - enough["gigabits"], 900 * 1000 * 8 / 1e9)

    def test_what_fills_first_is_told_first(self) -> None:
        own = assumed()
        own["machine"]["max_connections"] = 500
        model = Model(FIGURES, own)
        host = model.assumed["hosts"][0]
        bounds = model.bounds(OPEN, host)
        self.assertEqual([bound.visitors for bound in bounds], sorted(bound.visitors for bound in bounds))
        found = {bound.key: bound for bound in bounds}
        self.assertAlmostEqual(found["connections"].visitors, 500, delta=0.1)
        self.assertAlmostEqual(found["connections"].share, 2.0)
        # 0.01 Gbit/s of 848,000 bits a visitor.
        self.assertAlmostEqual(found["baseline"].visitors, 0.01e9 * 60 / 848_000, delta=0.1)
        # 2 GiB less 1 GiB, 16 KiB each.
        self.assertAlmostEqual(found["memory"].visitors, 1024 * 1024 / 16, delta=1)
        two = host | {"nodes": 2}
        for bound in model.bounds(OPEN, two):
            if bound.key != "memory":
                self.assertAlmostEqual(bound.visitors, 2 * found[bound.key].visitors, delta=1)

    def test_credits(self) -> None:
        model = Model(FIGURES, assumed())
        host = model.assumed["hosts"][0]
        self.assertIn("for ever", model.credits(host, 0.3))
        self.assertIn("16.0 h", model.credits(host, 1.0))


class ThePage(unittest.TestCase):
    def test_it_has_every_table_and_says_what_is_left_out(self) -> None:
        sections = page.sections(FIGURES, assumed())
        text = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text()
        for name, section in sections.items():
            self.assertIn(f"<!-- {name} -->\n", text)
            self.assertIn("| --: |", section)
        self.assertIn("Left out", sections["capacity-measured"])
        self.assertIn("not measured yet", sections["capacity-opening"])

    def test_the_assumptions_that_are_kept_make_a_page(self) -> None:
        own = tomllib.loads((Path(__file__).parents[1] / "capacity.toml").read_text())
        self.assertIn("t3.medium", page.sections(FIGURES, own)["capacity-hosts"])

    def test_numbers_have_three_digits(self) -> None:
        for number, text in ((0, "0"), (0.01234, "0.0123"), (3.14159, "3.14"), (99.96, "100"), (1234.5, "1,230"),
                             (2_474_999, "2,470,000")):
            self.assertEqual(short(number), text)


class WhatIsRead(unittest.TestCase):
    def test_assets_of_a_page(self) -> None:
        html = ('<link rel="stylesheet" href="/a.css"><link rel="icon" type="image/svg+xml" href="/f.svg">'
                '<a href="/b"><img src="/c.png" alt=""></a><img src="/c.png" loading="lazy">')
        self.assertEqual(shop.assets(html), ["/a.css", "/f.svg", "/c.png"])

    def test_memory_of_the_kernel(self) -> None:
        self.assertEqual(connections.slab_kib("MemFree: 1 kB\nSlab:             123 kB\nSReclaimable: 4 kB\n"), 123)
        self.assertEqual(connections.slope([(100, 200.0), (200, 400.0)]), 2.0)


if __name__ == "__main__":
    unittest.main()
