import json
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import micro


def line(function: str, id: str, instructions: int) -> str:
    metrics = {"Ir": {"values": {"new": instructions}}}
    profile = {"tool": "Callgrind", "data": {"total": {"metrics": metrics}}}
    return json.dumps({"function_name": function, "id": id, "profiles": [profile]})


class Counts(unittest.TestCase):
    def test_one_run_of_each_step(self) -> None:
        output = "Running\n" + line("decide", "short", 1_500_000) + "\n" + line("look_up", "one_of_many", 250_000) + "\n"
        self.assertEqual(micro.parse(output), {"decide, short": 1500.0, "look_up, one of many": 250.0})

    def test_a_rise_is_told_and_a_fall_is_not(self) -> None:
        accepted = {"a": 100.0, "b": 100.0, "c": 100.0}
        self.assertEqual(micro.warnings({"a": 102.9, "b": 50.0, "c": 104.0}, accepted),
                         ["c takes 4.0% more instructions than were accepted"])

    def test_a_step_that_is_gone_is_told(self) -> None:
        self.assertEqual(micro.warnings({}, {"a": 1.0}), ["a is not measured any more"])

    def test_a_new_step_has_nothing_beside_it(self) -> None:
        self.assertEqual(micro.warnings({"a": 5.0}, {}), [])
        self.assertIn("| a             | 5            | –        | –      |", micro.shown({"a": 5.0}, {}))

    def test_the_harness_runs_as_often_as_we_divide_by(self) -> None:
        harness = Path(__file__).parents[1] / "micro" / "benches" / "instructions.rs"
        self.assertIn(f"const RUNS: usize = {micro.RUNS};", harness.read_text())


if __name__ == "__main__":
    unittest.main()
