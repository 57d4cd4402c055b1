import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib.failover import Figure, Run, markdown, table
from lib.stack import parse_metrics, summed

OPENED = "dhal_upstream_connections_opened_total"
REUSED = "dhal_upstream_connections_reused_total"
CHARGED = "dhal_upstream_retries_charged_total"


def group(failed: int = 0, p99: float = 5.0, **fates: int) -> dict[str, Any]:
    return {"requests": 1000, "failed": failed, "fates": fates, "p99_ms": p99}


def run_of(name: str, p99: float = 5.0, failed: int = 0, kept_up: bool = True, **counters: float) -> Run:
    run = Run(name, before={f'{CHARGED}{{upstream="shop"}}': 5.0}, budget_percent=20)
    run.after = {f'{series}{{upstream="shop"}}': value for series, value in counters.items()}
    run.report = {
        "safe": group(failed), "changing": group(), "orders": 10, "failed_though_stored": 0, "stored": {},
        "by_protocol": {"h2 safe": group(p99=p99), "h2 changing": group(p99=900)}, "by_step": {},
        "generator": {"kept_up": kept_up, "late_share": 0.0, "cpu_share": 0.1},
    }
    return run


def figure(run: Run, what: str, calm: Run | None = None) -> Figure:
    [found] = [one for one in run.figures(calm) if one.what.startswith(what)]
    return found


class Metrics(unittest.TestCase):
    def test_series_are_read_and_summed(self) -> None:
        metrics = parse_metrics('# HELP a b\na{x="1 2"} 3\na{x="2"} 4.5\nab 1\n')
        self.assertEqual((summed(metrics, "a"), summed(metrics, "ab"), summed(metrics, "b")), (7.5, 1.0, None))


class Verdicts(unittest.TestCase):
    def test_a_failed_safe_request_is_asserted(self) -> None:
        for failed, verdict in ((0, "reached"), (1, "MISSED")):
            found = figure(run_of("trouble", failed=failed), "failed safe requests")
            self.assertEqual((found.verdict(), found.asserted), (verdict, True))

    def test_times_are_set_beside_a_calm_run(self) -> None:
        calm = run_of("calm", p99=5.0)
        for p99, verdict in ((15.0, "reached"), (15.1, "MISSED")):
            found = figure(run_of("trouble", p99=p99), "p99 of safe requests, h2", calm)
            self.assertEqual((found.verdict(), found.asserted), (verdict, False))

    def test_times_of_a_generator_that_was_late_are_no_verdict(self) -> None:
        found = figure(run_of("trouble", p99=5.0), "p99", run_of("calm", kept_up=False))
        self.assertEqual(found.verdict(), "not measured")

    def test_reuse_is_a_share_of_requests_to_shops(self) -> None:
        for opened, verdict in ((9.0, "reached"), (11.0, "MISSED")):
            run = run_of("steady", **{OPENED: opened, REUSED: 1000.0 - opened, CHARGED: 5.0})
            self.assertEqual(figure(run, "requests to shops on kept").verdict(), verdict)

    def test_retries_beyond_the_budget_are_asserted(self) -> None:
        # 5 before the run; 20 % of 1000 requests, and what may have been saved up.
        for charged, verdict in ((305.0, "reached"), (306.0, "MISSED")):
            run = run_of("calm", **{OPENED: 10.0, REUSED: 990.0, CHARGED: charged})
            found = figure(run, "retries charged")
            self.assertEqual((found.verdict(), found.asserted), (verdict, True))

    def test_an_edge_without_the_counters_is_not_measured(self) -> None:
        self.assertEqual(figure(run_of("calm"), "retries").verdict(), "not measured")

    def test_lost_orders_are_asserted(self) -> None:
        run = run_of("calm")
        run.lost_orders = 1
        self.assertEqual(figure(run, "acknowledged").verdict(), "MISSED")

    def test_what_an_outage_may_say_to_a_customer(self) -> None:
        run = run_of("outage")
        run.checkout_during, run.recovered_after = (503, "10"), (1.5, 0.2)
        run.report["by_step"] = {"checkout": group(3, **{"503-retry-after": 3})}
        self.assertEqual(figure(run, "cart and checkout").verdict(), "reached")
        self.assertEqual(figure(run, "an order during").verdict(), "reached")
        self.assertIn("1.50 s", figure(run, "first order").value)
        run.report["by_step"]["checkout"]["fates"]["reset"] = 6
        run.checkout_during = (503, None)
        self.assertEqual(figure(run, "cart and checkout").verdict(), "MISSED")
        self.assertEqual(figure(run, "an order during").verdict(), "MISSED")

    def test_trouble_that_did_not_happen_is_missed(self) -> None:
        run = run_of("trouble")
        run.events = ["killed"] * 9 + ["hung", "`dhal drain` ended with 2"]
        self.assertEqual(figure(run, "what happened").verdict(), "MISSED")
        run.events[-1] = "deployed"
        self.assertEqual(figure(run, "what happened").verdict(), "reached")


class Tables(unittest.TestCase):
    def test_every_figure_is_in_both(self) -> None:
        figures = [Figure("calm", "one", "1"), Figure("trouble", "two", "2", "0", False, True)]
        for text in (table(figures), markdown(figures)):
            self.assertIn("MISSED", text)
            self.assertIn("one", text)


if __name__ == "__main__":
    unittest.main()
