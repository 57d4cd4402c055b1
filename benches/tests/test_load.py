import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib.load import LoadFailed, parse_h2load, parse_time_us, parse_wrk, percentiles_us

WRK = """\
Running 2s test @ http://127.0.0.1:8080/12k
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   535.34us   90.16us   2.23ms   80.00%
    Req/Sec    59.00k     3.00k   62.00k    70.00%
  4096 requests in 2.00s, 50.00MB read
Requests/sec:   2048.00
Transfer/sec:     25.00MB
percentiles in us: 50%=532 99%=14850 99.9%=20012
"""

WRK_FAILING = WRK.replace(
    "Requests/sec:",
    "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\nRequests/sec:",
)

H2LOAD = """\
starting benchmark...
spawning thread #0: 16 total client(s)
TLS Protocol: TLSv1.3
Cipher: TLS_AES_256_GCM_SHA384
Server Temp Key: X25519 253 bits
Application protocol: h2
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 2.00s, 500.00 req/s, 6.02MB/s
requests: 1000 total, 1128 started, 1000 done, 1000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 1000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 12.04MB (12625920) total, 60.55KB (62000) headers (space savings 70.00%), 11.72MB (12288000) data
                     min         max         mean         sd        +/- sd
time for request:       60us     31.43ms      5.81ms      2.10ms    71.00%
time for connect:     3.32ms     12.18ms      8.01ms      2.77ms    56.25%
time to 1st byte:     7.61ms     15.01ms     11.63ms      2.34ms    56.25%
req/s           :      31.00       63.00       50.00        4.00    68.75%
"""


H2LOAD_LOG = "".join(f"1795329004746000\t200\t{us}\n" for us in range(1000, 0, -1)) + "1795329004746000\t-1\t99999\n"


class Times(unittest.TestCase):
    def test_units(self) -> None:
        for text, expected in (("535.34us", 535.34), ("2.5ms", 2500.0), ("1.5s", 1.5e6), ("2m", 120e6)):
            self.assertAlmostEqual(parse_time_us(text), expected)

    def test_not_a_time(self) -> None:
        with self.assertRaises(LoadFailed):
            parse_time_us("fast")


class Wrk(unittest.TestCase):
    def test_a_clean_run(self) -> None:
        loaded = parse_wrk(WRK)
        self.assertEqual((loaded.requests, loaded.seconds, loaded.failed), (4096, 2.0, 0))
        self.assertEqual(loaded.latency_us, {"p50": 532.0, "p99": 14850.0, "p99.9": 20012.0})
        self.assertEqual(loaded.body_bytes_each, 50 * 1024 * 1024 / 4096)

    def test_without_our_script_there_is_no_report(self) -> None:
        with self.assertRaises(LoadFailed):
            parse_wrk("\n".join(line for line in WRK.splitlines() if not line.startswith("percentiles")))

    def test_every_kind_of_failure_counts(self) -> None:
        self.assertEqual(parse_wrk(WRK_FAILING).failed, 1 + 2 + 3 + 4 + 5)

    def test_no_report(self) -> None:
        with self.assertRaises(LoadFailed):
            parse_wrk("unable to connect to 127.0.0.1:8080 Connection refused\n")


class Percentiles(unittest.TestCase):
    def test_of_one(self) -> None:
        self.assertEqual(percentiles_us([7.0]), {"p50": 7.0, "p99": 7.0, "p99.9": 7.0})


class H2load(unittest.TestCase):
    def test_a_clean_run(self) -> None:
        loaded = parse_h2load(H2LOAD, H2LOAD_LOG)
        self.assertEqual((loaded.requests, loaded.seconds, loaded.failed), (1000, 2.0, 0))
        self.assertEqual(loaded.body_bytes_each, 12288)
        self.assertEqual(loaded.latency_us, {"p50": 500.0, "p99": 990.0, "p99.9": 999.0})

    def test_failed_and_errored_count(self) -> None:
        self.assertEqual(parse_h2load(H2LOAD.replace("0 failed, 0 errored", "2 failed, 3 errored"), "").failed, 5)

    def test_an_answer_other_than_2xx_is_a_failure(self) -> None:
        text = H2LOAD.replace("1000 2xx, 0 3xx, 0 4xx, 0 5xx", "990 2xx, 0 3xx, 10 4xx, 0 5xx")
        self.assertEqual(parse_h2load(text, "").failed, 10)

    def test_no_report(self) -> None:
        with self.assertRaises(LoadFailed):
            parse_h2load("starting benchmark...\n", "")


if __name__ == "__main__":
    unittest.main()
