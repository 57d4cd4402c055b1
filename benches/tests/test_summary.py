import sys
import unittest
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import chart, report, summary
from lib.measure import Measured, Round
from lib.works import WORKS


def run_of(nginx: list[float], dhal: list[float]) -> summary.Figures:
    rounds = {
        edge: [Round(value, requests=100, requests_per_second=50.0, latency_us={"p50": 500.0}) for value in values]
        for edge, values in (("nginx", nginx), ("dhal", dhal))
    }
    return {
        "environment": {"cpu": "a CPU", "kernel": "Linux", "versions": {"nginx": "1.22.1"}},
        "settings": {"rounds": len(nginx), "seconds": 1, "log": False},
        "rows": [summary.row(WORKS[0], Measured(rounds))],
    }


class Ratio(unittest.TestCase):
    def test_rounds_are_paired_before_the_median_is_taken(self) -> None:
        self.assertEqual(summary.ratio([1.0, 4.0, 3.0], [2.0, 4.0, 4.0]), {"median": 0.75, "min": 0.5, "max": 1.0})

    def test_without_a_baseline(self) -> None:
        self.assertIsNone(summary.ratio([1.0], []))


class Trouble(unittest.TestCase):
    def test_a_server_that_failed_is_trouble(self) -> None:
        run = run_of([10.0], [5.0])
        self.assertFalse(summary.has_trouble(run["rows"]))
        run["rows"][0]["failed"]["varnish"] = "did not start"
        self.assertTrue(summary.has_trouble(run["rows"]))

    def test_a_wrong_answer_is_trouble_and_is_marked_in_the_table(self) -> None:
        run = run_of([10.0], [5.0])
        run["rows"][0]["edges"]["dhal"]["trouble"].append("3 failed requests")
        self.assertTrue(summary.has_trouble(run["rows"]))
        self.assertIn("0.50 !", report.overview(run))


class Report(unittest.TestCase):
    def test_the_change_is_told_against_the_previous_run(self) -> None:
        details = report.row_details(run_of([10.0], [5.0])["rows"][0], previous=run_of([10.0], [6.0]))
        self.assertIn("-0.10", details)

    def test_the_chart_is_well_formed(self) -> None:
        ElementTree.fromstring(chart.svg(run_of([10.0, 11.0], [5.0, 4.0])))


if __name__ == "__main__":
    unittest.main()
