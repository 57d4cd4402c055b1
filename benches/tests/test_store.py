import os
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import cpu
from lib.load import LoadFailed
from lib.servers import PEERS
from lib.store import disk, edges, hits, load, report
from lib.summary import Figures

METRICS = """\
# HELP dhal_cache_stored_responses Entries of a tier.
# TYPE dhal_cache_stored_responses gauge
dhal_cache_stored_responses{tier="disk"} 0
dhal_cache_stored_responses{tier="memory"} 100001
dhal_cache_jobs_left 3
"""

LOG = """\
2026-11-22T06:30:04.236Z  INFO admin endpoint path=/run/admin.sock
2026-11-22T06:30:04.746Z  INFO disk tier read objects=6000 bytes=24576000
"""

ANSWER = {"server": "nginx/1.22.1", "via": "1.1 dhal", "age": "12", "cache-status": "dhal; hit", "x-request-id": "0"}


class Books(unittest.TestCase):
    def test_sizes_grow_tenfold_up_to_the_largest(self) -> None:
        self.assertEqual(hits.sizes(1_000_000), [1000, 10_000, 100_000, 1_000_000])
        self.assertEqual(hits.sizes(20_000), [1000, 10_000, 20_000])

    def test_a_key_has_its_parts_behind_their_lengths(self) -> None:
        self.assertEqual(hits.key_bytes("a.example", "/1"), 8 + 4 + 8 + 9 + 8 + 2 + 1)

    def test_a_stored_head_lacks_what_each_answer_gets_anew(self) -> None:
        stored = "HTTP/1.1 200 OK\r\nserver: nginx/1.22.1\r\nvia: 1.1 dhal\r\n"
        self.assertEqual(hits.head_bytes(ANSWER), len(stored))

    def test_memory_beyond_the_bytes_is_the_growth_without_them(self) -> None:
        readings = [hits.Memory(100, 1000 + 100 * 1500), hits.Memory(200, 1000 + 200 * 1400)]
        row = hits.memory_row(1000, readings, {"key": 50, "head": 150, "content": 1000}, 1300.0)
        self.assertEqual(row["beyond_bytes"], {"100": 300, "200": 200})
        self.assertEqual((row["stored"], row["rss_bytes_each"]), (200, 1400))


class Words(unittest.TestCase):
    def test_metrics_by_name_and_labels(self) -> None:
        metrics = edges.parse_metrics(METRICS)
        self.assertEqual(metrics['dhal_cache_stored_responses{tier="memory"}'], 100001)
        self.assertEqual(metrics["dhal_cache_jobs_left"], 3)
        self.assertEqual(len(metrics), 3)

    def test_the_line_about_the_disk(self) -> None:
        self.assertEqual(disk.scan_line(LOG), (1795329004.746, 6000))

    def test_no_such_line_yet(self) -> None:
        self.assertIsNone(disk.scan_line(LOG.splitlines()[0]))


class ProcessTime(unittest.TestCase):
    def test_it_holds_the_time_of_threads_that_have_ended(self) -> None:
        def work() -> None:
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass

        before = cpu.process_seconds(os.getpid())
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.assertGreaterEqual(cpu.process_seconds(os.getpid()) - before, 0.05)

    def test_resident_memory(self) -> None:
        self.assertGreater(cpu.rss_bytes(os.getpid()), 1 << 20)


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[str] = []

    def do_GET(self) -> None:
        self.seen.append(self.path)
        content = b"x" * 3000
        self.send_response(404 if self.path.endswith("0000007") else 200)
        self.send_header("Cache-Status", "dhal; hit; ttl=1" if self.path.endswith("2") else "dhal; fwd=uri-miss")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


class Generator(unittest.TestCase):
    """`peers/urls.c` against a server that is slow and sends heads and content in parts."""

    def setUp(self) -> None:
        Answering.seen = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.directory = tempfile.TemporaryDirectory()
        urls = Path(self.directory.name) / "urls"
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", urls, PEERS / "urls.c"], check=True)
        core = min(os.sched_getaffinity(0))
        bench = SimpleNamespace(load_core=core, urls=urls)
        self.edge: Any = SimpleNamespace(bench=bench, port=self.server.server_port, name="test")

    def tearDown(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.directory.cleanup()

    def test_each_page_once_and_every_answer_looked_at(self) -> None:
        pages = load.Pages("1k", 20)
        answers = load.run(self.edge, pages, order="seq", requests=20, connections=3, depth=2)
        self.assertEqual(sorted(Answering.seen), [pages.target(number) for number in range(20)])
        self.assertEqual((answers.requests, answers.hits, answers.not_200, answers.lost), (20, 2, 1, 0))
        self.assertEqual(answers.body_bytes, 20 * 3000)
        self.assertGreaterEqual(answers.max, answers.p50)

    def test_at_random_it_stays_among_the_pages(self) -> None:
        pages = load.Pages("1k", 5, first=100)
        load.run(self.edge, pages, requests=60, connections=2)
        self.assertEqual(set(Answering.seen), {pages.target(number) for number in range(5)})

    def test_one_page_for_a_while(self) -> None:
        answers = load.run(self.edge, load.Pages("cold", 0), seconds=0.1, connections=2)
        self.assertEqual(set(Answering.seen), {"/cold/"})
        self.assertEqual(answers.requests, len(Answering.seen))


class Answers(unittest.TestCase):
    def test_wrong_answers_are_told(self) -> None:
        good = load.Answers(2, 1.0, 0, 0, 2, 2048, 1, 1, 1)
        self.assertEqual(good.trouble(1024), [])
        bad = load.Answers(2, 1.0, 1, 1, 2, 2000, 1, 1, 1)
        self.assertEqual(len(bad.trouble(1024)), 2)

    def test_no_report(self) -> None:
        with self.assertRaises(LoadFailed):
            load.parse_answers("connect: Connection refused\n")


def run_of(trouble: list[str]) -> Figures:
    one = {"cpu_us": 5.0, "cpu_us_rounds": [5.0], "ratio": {"median": 1.2, "min": 1.1, "max": 1.3},
           "disturbed_rounds": 1, "trouble": trouble}
    step = {"stored": 1000, "median_ms": 0.5, "max_ms": 1.0, "trouble": []}
    collapsed = {"to_origin": 1, "median_ms": 25.0, "worst_ms": 510.0, "trouble": []}
    return {
        "environment": {"cpu": "a CPU", "kernel": "Linux", "versions": {"nginx": "1.22.1"}},
        "settings": {"rounds": 1, "seconds": 1.0},
        "rows": [
            {"row": "hit", "few": 1000, "many": 10_000, "goal": 1.1, "trouble": [],
             "edges": {"dhal": {"few": one, "many": one}}},
            hits.memory_row(0, [hits.Memory(10, 15_000)], {"content": 1000}, 1400.0) | {"trouble": []},
            {"row": "disk-hit", "edges": {"dhal disk": one, "nginx": one}, "trouble": []},
            {"row": "purge", "durable": True, "goal": 10, "steps": [step]},
            {"row": "miss-12k", "body": "12k", "edges": {"dhal memory": one}, "left_share": 0.25, "trouble": []},
            {"row": "restart", "stored": 1000, "sample": 10, "goal": 2.0, "first_answer_seconds": 0.1,
             "all_hits_seconds": 0.2, "scan_seconds": 0.3, "trouble": []},
            {"row": "collapse", "visitors": 1000, "trouble": [], "edges": {"nginx": {"stale": collapsed}}},
        ],
    }


class Overview(unittest.TestCase):
    def test_every_row_has_its_lines(self) -> None:
        text = report.overview(run_of([]))
        for part in ("10,000 to one among 1,000", "**1.20 (1.10–1.30)**", "**500 B**", "1,000 stored, durable",
                     "25% left unwritten", "**0.20 s**", "1; 25 / 510 ms", "In 5 of 5 rounds"):
            self.assertIn(part, text)

    def test_trouble_is_marked_and_told_wherever_it_stands(self) -> None:
        run = run_of(["3 came from the origin"])
        text = report.overview(run)
        self.assertIn("1.20 (1.10–1.30) !", text)
        self.assertIn("- **hit, edges, dhal, many: 3 came from the origin**", text)
        self.assertTrue(report.troubles(run["rows"][0]))
        self.assertFalse(report.troubles(run["rows"][1]))


if __name__ == "__main__":
    unittest.main()
