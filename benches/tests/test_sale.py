import sys
import tomllib
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import sale, sale_config
from lib.generator import SCENARIOS
from lib.sale import Best, Table
from sale import plain_only


def second(
    checkouts: int = 10, p99: float = 50.0, failed: int = 0, refused: int = 0, waiting: int = 0
) -> dict[str, Any]:
    return {
        "begun": 100, "answered": 100 - failed, "checkouts": checkouts, "p99_ms": p99, "inside": 60, "waiting": waiting,
        "failed": {"5xx": failed} if failed else {}, "refused": {"429": refused} if refused else {},
    }


def group(failed: int = 0, refused: int = 0, p99: float = 5.0, **fates: int) -> dict[str, Any]:
    return {"requests": 1000, "failed": failed, "refused": refused, "fates": fates, "p50_ms": 1.0, "p99_ms": p99}


def report(seconds: list[dict[str, Any]], finished: int = 90, stopped: int = 0, **groups: Any) -> dict[str, Any]:
    ended = finished + stopped
    return {
        "per_second": seconds, "seconds": len(seconds), "safe": group(), "changing": group(), "hits": group(),
        "buyers": {"came": 120, "let_in": ended + 2, "finished": finished, "finished_share": finished / ended,
                   "stopped": {"5xx": stopped} if stopped else {}, "under_way": 2, "gave_up": 0, "still_waiting": 28},
        "waiting": {"p50_s": 20.0, "max_s": 80.0}, "attackers": [], "by_step": {"product": group()},
        "generator": {"kept_up": True, "late_share": 0.0, "cpu_share": 0.1},
    } | groups


class Calibration(unittest.TestCase):
    def test_the_best_step_is_before_the_first_that_is_too_much(self) -> None:
        steps = [second(5)] * 10 + [second(9)] * 10 + [second(7, p99=2000)] * 10 + [second(20)] * 10
        best = sale.best_step(report(steps), [10, 20, 30, 40], 10)
        assert best
        self.assertEqual((best.rate, best.checkouts, best.inside), (20, 9, 60))

    def test_a_step_counts_from_when_its_visitors_are_through(self) -> None:
        best = sale.best_step(report([second(0)] * 4 + [second(8)] * 6), [10], 10)
        self.assertEqual(best and best.checkouts, 8)

    def test_answers_that_are_not_there_are_too_much(self) -> None:
        self.assertIsNone(sale.best_step(report([second(failed=1)] * 10), [10], 10))
        self.assertIsNone(sale.best_step(report([second(refused=1)] * 10), [10], 10))
        self.assertIsNone(sale.measured(report([]), 10, 0, 10))


class Opening(unittest.TestCase):
    best = Best(rate=20, checkouts=10, p99_ms=100, inside=100)

    def rows(self, edge: str, run: dict[str, Any]) -> Table:
        table = Table()
        sale.opening(table, edge, run, self.best, (0, len(run["per_second"])))
        return table

    def test_nine_tenths_of_the_best_are_wanted(self) -> None:
        self.assertEqual(self.rows("dhal", report([second(9)] * 30)).missed(), [])
        [missed] = self.rows("dhal", report([second(8)] * 30)).missed()
        self.assertEqual(missed.values, {"dhal": "8.0 (80%)"})

    def test_one_buyer_who_was_let_in_and_stopped_is_too_many(self) -> None:
        [missed] = self.rows("dhal", report([second()] * 30, stopped=1)).missed()
        self.assertEqual(missed.values, {"dhal": "90 of 91 (98.9%)"})

    def test_a_place_that_rose_is_missed(self) -> None:
        run = report([second()] * 30, safe=group(failed=1, **{"place-rose": 1}))
        self.assertEqual([row.what for row in self.rows("dhal", run).missed()], ["places in the queue that rose"])

    def test_goals_are_dhals(self) -> None:
        self.assertEqual(self.rows("nginx", report([second(1)] * 30, stopped=50)).missed(), [])

    def test_it_is_drawn(self) -> None:
        run = report([second(waiting=5)] * 30)
        drawn = sale.svg({"dhal": run, "nginx": report([])}, self.best)
        self.assertIn(">nginx<", drawn)
        self.assertNotIn("nan", drawn)


class Beside(unittest.TestCase):
    def test_slow_connections_may_double_the_time_and_fail_nothing(self) -> None:
        for now, reached in ((report([]), [True, True]), (report([], safe=group(refused=1, p99=11)), [False, False])):
            table = Table()
            sale.beside_slowloris(table, "dhal", report([]), now, (0, 0, 0))
            self.assertEqual([row.reached for row in table.rows if row.wanted], reached)

    def test_times_of_a_late_generator_say_nothing(self) -> None:
        table = Table()
        late = report([], generator={"kept_up": False, "late_share": 0.5, "cpu_share": 0.9})
        sale.beside_slowloris(table, "dhal", report([]), late, (0, 0, 0))
        self.assertEqual([row.reached for row in table.rows if row.wanted], [True, None])


class Rendering(unittest.TestCase):
    def test_edges_stand_side_by_side(self) -> None:
        table = Table()
        table.add("opening", "nginx", "x", "1", "2", False)
        table.add("opening", "dhal", "x", "3", "2", False)
        self.assertIn("| opening | x | 2 | 3 | 1 | **MISSED** |", table.markdown())
        self.assertEqual(table.missed(), table.rows)


class Configuration(unittest.TestCase):
    best = Best(rate=25.5, checkouts=10, p99_ms=100, inside=255)

    def read(self, *without: str) -> dict[str, Any]:
        return tomllib.loads(sale_config.dhal(self.best, frozenset(without)).format(shop1=1))

    def test_the_room_lets_in_what_the_shop_can_do(self) -> None:
        room = self.read()["waiting_rooms"]["sale"]
        self.assertEqual((room["rate"], room["capacity"]), ("1530/m", round(25.5 * 30 * 1.33)))

    def test_checks_and_pictures_wait_nowhere(self) -> None:
        rooms = {route.get("path", "all"): route.get("waiting_room") for route in self.read()["routes"]}
        self.assertEqual((rooms["/healthz"], rooms["/images/*"]), (None, None))
        self.assertEqual((rooms["all"], rooms["/"], rooms["/checkout"]), ("sale", "sale", "sale"))

    def test_what_is_left_out_is_not_there(self) -> None:
        all_parts, bare = self.read(), self.read(*sale_config.PARTS)
        self.assertNotIn("waiting_rooms", bare)
        self.assertTrue(all(not {"waiting_room", "class"} & set(route) for route in bare["routes"]))
        self.assertNotIn("concurrency", bare["upstreams"]["shop"])
        self.assertTrue(any(route.get("waiting_room") for route in all_parts["routes"]))
        self.assertIn("max_connections_per_client", all_parts["server"])
        self.assertNotIn("max_connections_per_client", bare["server"])

    def test_nginx_is_told_what_the_room_is_told(self) -> None:
        text = sale_config.nginx(80, self.best)
        scenario = {"visitors": [
            {"share": 3, "steps": [{"do": "home"}, {"do": "add", "times": [1, 3]}]},
            {"share": 1, "steps": [{"do": "search", "chance": 0.5}]},
        ]}
        self.assertAlmostEqual(sale_config.newcomers_each(scenario), (3 * 2 + 0.5) / 4)
        each = sale_config.newcomers_each(tomllib.loads((SCENARIOS / "sale-opening.toml").read_text()))
        self.assertIn(f"zone=newcomers:1m rate={round(60 * 25.5 * each)}r/m;", text)
        self.assertIn("zone=buyers:1m rate=80r/s;", text)
        self.assertIn("zone=buyers burst=160;", text)

    def test_at_nginx_the_shops_refusals_are_503_and_a_visitors_own_429(self) -> None:
        gate, front = sale_config.nginx(80, self.best).split("    server {\n        listen")[1:]
        self.assertIn("limit_req_status 503;", gate)
        self.assertNotIn("zone=visitor", gate)
        self.assertIn("limit_req_status 429;", front)
        self.assertNotIn("zone=buyers", front)


class Scenarios(unittest.TestCase):
    def test_a_shop_alone_is_asked_in_plain(self) -> None:
        for name in ("sale-opening", "reload-storm"):
            scenario = tomllib.loads(plain_only((SCENARIOS / f"{name}.toml").read_text()))
            self.assertEqual(scenario["protocols"], {"http1": 1})
            self.assertNotIn("warm", scenario)
            self.assertTrue(scenario["phases"])

    def test_ten_thousand_are_slow_in_three_ways(self) -> None:
        attackers = tomllib.loads((SCENARIOS / "slowloris.toml").read_text())["attackers"]
        slow = [attacker for attacker in attackers if attacker["way"].startswith("slow")]
        self.assertEqual(len({attacker["way"] for attacker in slow}), 3)
        self.assertGreaterEqual(sum(attacker["connections"] for attacker in slow), 10_000)


if __name__ == "__main__":
    unittest.main()
