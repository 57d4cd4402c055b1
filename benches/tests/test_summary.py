import sys
import unittest
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import changes, chart, goals, readme, report, summary
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


def whole_run() -> summary.Figures:
    """A row of each kind."""
    def row(key: str, rounds: dict[str, Round]) -> summary.Figures:
        work = next(work for work in WORKS if work.key == key)
        return summary.row(work, Measured({edge: [one] for edge, one in rounds.items()}))

    points = [(1000, 20 * 1024), (2000, 32 * 1024)]
    run = run_of([10.0], [4.5])
    run["rows"] += [
        row("flat-threads", {"dhal-one": Round(10.0), "dhal-two": Round(12.0), "nginx-one": Round(10.0),
                             "nginx-two": Round(15.0)}),
        row("idle-tls", {"dhal": Round(12.6, points=points), "nginx": Round(16.0, points=points)}),
        row("stalled-pass", {"dhal": Round(70.0, left=3.0), "haproxy": Round(68.0, left=60.0)}),
    ]
    return run


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
        [line] = [line for line in goals.overview(run).splitlines() if "0.50 !" in line]
        self.assertIn("does not count", line)


class Report(unittest.TestCase):
    def test_the_change_is_told_against_the_previous_run(self) -> None:
        details = report.row_details(run_of([10.0], [5.0])["rows"][0], previous=run_of([10.0], [6.0]))
        self.assertIn("-0.10", details)

    def test_the_chart_is_well_formed(self) -> None:
        ElementTree.fromstring(chart.svg(run_of([10.0, 11.0], [5.0, 4.0])))
        ElementTree.fromstring(chart.svg(whole_run()))

    def test_memory_has_its_points_or_what_was_left(self) -> None:
        details = {row["work"]: report.row_details(row, None) for row in whole_run()["rows"]}
        self.assertIn("1,000: 20, 2,000: 32", details["idle-tls"])
        self.assertIn("MiB left after closing", details["stalled-pass"])


class Goals(unittest.TestCase):
    def lines(self, **more: summary.Figures) -> dict[str, goals.Line]:
        found = goals.lines(whole_run(), more.get("store"), more.get("soak"))
        return {f"{line.section}: {line.what}": line for line in found}

    def line(self, section: str, what: str, **more: summary.Figures) -> goals.Line:
        return self.lines(**more)[f"{section}: {what}"]

    def test_a_goal_is_reached_at_the_precision_it_is_given_with(self) -> None:
        self.assertEqual(self.line(goals.BESIDE_NGINX, "hit, h1, 1 KiB").verdict(), "reached")

    def test_by_how_much_it_is_missed(self) -> None:
        line = self.line(goals.MEMORY, "memory per idle TLS connection")
        self.assertEqual((line.goal, line.cells["dhal"], line.verdict()),
                         ("≤ 12 KiB", "12.6 KiB", "**missed by 5%**"))

    def test_a_pair_is_compared_with_itself(self) -> None:
        line = self.line(goals.FLAT, "two threads to one, hit of 1 KiB")
        self.assertEqual((line.cells, line.verdict()), ({"dhal": "1.20", "nginx": "1.50"}, "**missed by 9%**"))

    def test_every_goal_has_a_line_even_if_it_was_not_measured(self) -> None:
        missing = [line for line in self.lines().values() if line.verdict() == "not measured"]
        goals_of_rows = sum(bool(work.goal_ratio or work.goal_value) for work in WORKS)
        # Those of the whole run are measured; stored responses and failed requests come on top.
        self.assertEqual(len(missing), goals_of_rows - 4 + 2)
        self.assertTrue(all(line.goal for line in missing))

    def test_a_row_without_a_goal_is_shown_without_a_verdict(self) -> None:
        self.assertEqual(self.line(goals.MEMORY, "… left five seconds after all was closed").verdict(), "")

    def test_runs_of_their_own_are_told_with_their_date(self) -> None:
        many = {"ratio": {"median": 1.32, "min": 1.2, "max": 1.4}, "trouble": []}
        store = {"date": "2026-11-20", "rows": [
            {"row": "hit", "few": 1000, "many": 1_000_000, "goal": 1.1, "edges": {"dhal": {"many": many}}},
            {"row": "memory", "beyond_bytes": {"1000000": 512}, "goal": 512},
        ]}
        soak = {"date": "2026-11-21", "protocols": [
            {"protocol": "h1", "requests": 5000, "failed": 0, "refused_reloads": 0},
            {"protocol": "h2", "requests": 5000, "failed": 1, "refused_reloads": 0},
        ]}
        verdicts = {what: line.verdict() for what, line in self.lines(store=store, soak=soak).items()}
        for words, verdict in (("1,000,000 stored responses", "**missed by 20%**"), ("per stored response", "reached"),
                               ("h1 (run of 2026-11-21²)", "reached"), ("h2 (run of 2026-11-21²)", "**missed**")):
            [found] = [verdict for what, verdict in verdicts.items() if words in what]
            self.assertEqual(found, verdict)
        self.assertIn("(run of 2026-11-20²)", goals.overview(whole_run(), store, soak))

    def test_nothing_is_measured_where_the_server_failed(self) -> None:
        run = whole_run()
        for row in run["rows"]:
            row["edges"].clear()
        self.assertNotIn("reached", {line.verdict() for line in goals.lines(run, None, None)})


class Changes(unittest.TestCase):
    def test_ranges_that_meet_are_noise(self) -> None:
        before, after = run_of([10.0, 10.0], [5.0, 7.0]), run_of([10.0, 10.0], [7.0, 8.0])
        self.assertEqual(changes.sentences(after, before), ["In 1 rows nothing of Dhal's changed beyond noise."])

    def test_ranges_apart_are_told(self) -> None:
        before, after = run_of([10.0, 10.0], [5.0, 5.5]), run_of([10.0, 10.0], [6.0, 6.5])
        said = changes.sentences(after, before)
        self.assertEqual(said[0], "hit, h1, 1 KiB: Dhal takes MORE, 0.53 (0.50–0.55) before and 0.62 (0.60–0.65) now.")

    def test_memory_has_a_noise_of_its_own(self) -> None:
        before, after = whole_run(), whole_run()
        [idle] = [row for row in after["rows"] if row["work"] == "idle-tls"]
        idle["edges"]["dhal"]["value"] *= 1.04
        self.assertEqual(len(changes.sentences(after, before)), 1)
        idle["edges"]["dhal"]["value"] /= 2
        self.assertIn("Dhal takes less", changes.sentences(after, before)[0])

    def test_another_program_that_changed_makes_the_machine_suspect(self) -> None:
        before, after = whole_run(), whole_run()
        [idle] = [row for row in after["rows"] if row["work"] == "idle-tls"]
        idle["edges"]["nginx"]["value"] *= 2
        self.assertIn("suspect the machine", changes.sentences(after, before)[0])


class Readme(unittest.TestCase):
    def test_the_text_takes_its_place(self) -> None:
        text = "a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n"
        once = readme.replaced(text, "bench", "new\n")
        self.assertEqual(once, text.replace("old", "new"))
        self.assertEqual(readme.replaced(once, "bench", "new\n"), once)

    def test_no_place(self) -> None:
        with self.assertRaises(ValueError):
            readme.replaced("a\n", "bench", "new\n")


if __name__ == "__main__":
    unittest.main()
