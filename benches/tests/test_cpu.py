import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import cpu


class Schedstat(unittest.TestCase):
    def test_the_first_field_is_time_on_a_cpu(self) -> None:
        self.assertEqual(cpu.parse_schedstat("16183542 87231 412\n"), 16183542)

    def test_a_thread_that_started_counts_in_full(self) -> None:
        self.assertEqual(cpu.Spent.between({1: 100}, {1: 150, 2: 30}), cpu.Spent(80, 0))

    def test_a_thread_that_ended_is_told(self) -> None:
        self.assertEqual(cpu.Spent.between({1: 100, 2: 30}, {1: 150}), cpu.Spent(50, 1))

    def test_children_are_found_and_every_thread_is_read(self) -> None:
        with subprocess.Popen(["sleep", "10"]) as child:
            self.assertEqual(set(cpu.process_tree([os.getpid()])), {os.getpid(), child.pid})
            self.assertLessEqual({os.getpid(), child.pid}, cpu.thread_times([os.getpid(), child.pid]).keys())
            child.terminate()


class Memory(unittest.TestCase):
    def test_pss(self) -> None:
        text = "Rss:                4096 kB\nPss:                2048 kB\nPss_Anon:           1024 kB\n"
        self.assertEqual(cpu.parse_pss_kib(text), 2048)

    def test_without_pss(self) -> None:
        with self.assertRaises(ValueError):
            cpu.parse_pss_kib("Rss: 1 kB\n")


class Core(unittest.TestCase):
    STAT = "cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\ncpu1 9 0 0 0 0 0 0 0 0 0\n"

    def test_busy_and_stolen(self) -> None:
        self.assertEqual(cpu.parse_core_ticks(self.STAT, 0), (1 + 2 + 3 + 6 + 7, 8))

    def test_a_core_that_is_not_there(self) -> None:
        with self.assertRaises(ValueError):
            cpu.parse_core_ticks(self.STAT, 2)


if __name__ == "__main__":
    unittest.main()
