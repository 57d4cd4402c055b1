import asyncio
import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib import change, change_config, echo, h2_client
from lib.change import FULL, QUICK, Done, Outcome, Plan, blame, figures, is_rotated, markdown, missed, schedule
from lib.h2_streams import AskAgain, Broken, H2Connection
from lib.visitors import Sockets, Tally, exchange, told

PORTS = {"http": 1, "https": 2, "extra": 3, "other": 4, "shop1": 5, "shop2": 6, "echo": 7, "dir": "/run/of/changes"}
SMALL = Plan(seconds=10, reloads=2, broken=1, upgrades=1, rotations=1)


def outcome() -> Outcome:
    """One in which all went well."""
    done = [Done("reload", 0, 1.0, 0.1), Done("upgrade", 0, 2.0, 0.2), Done("broken", 0, 3.0, 0.1),
            Done("rotation", 0, 4.0, 1.5), Done("reload", 1, 6.0, 0.1)]
    tally = Tally()
    tally.took(0.01)
    return Outcome("dhal", SMALL, done, {"HTTP": tally}, Sockets(opened=3, echoes=9), 10.0)


class Plans(unittest.TestCase):
    def test_all_is_done_in_order_within_the_run(self) -> None:
        for plan in (FULL, QUICK):
            actions = schedule(plan)
            self.assertEqual([action.at for action in actions], sorted(action.at for action in actions))
            self.assertTrue(0 < actions[0].at and actions[-1].at < plan.seconds)
            for kind, count in (("reload", plan.reloads), ("broken", 20), ("upgrade", plan.upgrades)):
                self.assertEqual([one.number for one in actions if one.kind == kind], list(range(count)))

    def test_half_of_the_rotations_come_by_reload(self) -> None:
        for plan in (FULL, QUICK):
            self.assertEqual(sum(map(is_rotated, range(plan.reloads))), plan.rotations)


class Configurations(unittest.TestCase):
    def test_no_two_are_the_same(self) -> None:
        for make in (change_config.dhal, lambda number: change_config.nginx(number, True)):
            texts = [make(number).format(**PORTS) for number in range(FULL.reloads + 1)]
            self.assertEqual(len(set(texts)), len(texts))

    def test_mistakes_fit_all_of_them_and_differ(self) -> None:
        for mistakes, make in ((change_config.DHAL_MISTAKES, change_config.dhal),
                               (change_config.NGINX_MISTAKES, lambda number: change_config.nginx(number, False))):
            self.assertEqual(len({mistake.name for mistake in mistakes}), FULL.broken)
            for number in range(30):
                right = make(number)
                made = {mistake.made_in(right).format(**PORTS) for mistake in mistakes}
                self.assertEqual(len(made - {right.format(**PORTS)}), FULL.broken)

    def test_a_mistake_that_does_not_fit_is_told(self) -> None:
        with self.assertRaises(ValueError):
            change_config.Mistake("none", "absent", "other").made_in("text")

    def test_listeners_come_change_and_go(self) -> None:
        found = [re.search(r"127.0.0.1:3\"\n(tls)?", change_config.dhal(n).format(**PORTS)) for n in range(4)]
        self.assertEqual([one and one[1] for one in found], [None, None, "tls", "tls"])
        self.assertTrue(found[0] is None and found[1] is not None)


class Verdicts(unittest.TestCase):
    def test_all_is_well(self) -> None:
        self.assertEqual(missed(outcome()), [])

    def test_a_connection_that_ends_is_laid_on_what_was_done_last(self) -> None:
        done = outcome().done
        for moment, kind in ((0.5, "nothing"), (1.5, "reload"), (2.0, "upgrade"), (9.0, "reload")):
            self.assertEqual(blame(moment, done), kind)
        found = outcome()
        found.sockets.closed = [(1.5, "closed"), (2.1, "closed"), (3.5, "closed")]
        self.assertEqual(found.closed_by(), {"reload": 1, "upgrade": 1, "other": 1})
        self.assertEqual(len(missed(found)), 3)

    def test_what_is_missed_is_told(self) -> None:
        for spoil, what in (
            (lambda one: one.tallies["HTTP"].broke(1.0, "cut"), "failed requests, all"),
            (lambda one: one.done.pop(), "reloads in force, seen by a request"),
            (lambda one: setattr(one.done[1], "wrong", "exit 1: no"), "upgrades of the program"),
            (lambda one: setattr(one, "left_over", 1), "processes left when all visitors had gone"),
            (lambda one: setattr(one.sockets, "opened", 0), "WebSockets closed by reloads"),
        ):
            found = outcome()
            spoil(found)
            self.assertIn(what, [one.what for one in missed(found)])
            self.assertIn("**MISSED**", markdown([found], "A run."))

    def test_edges_stand_side_by_side(self) -> None:
        text = markdown([outcome(), outcome()], "A run.")
        self.assertEqual(len([line for line in text.splitlines() if line.startswith("|")]), len(figures(outcome())) + 2)
        self.assertEqual(change.as_data(outcome())["visitors"]["HTTP"]["requests"], 1)

    def test_percentiles(self) -> None:
        self.assertEqual(change.percentile([], 0.99), 0.0)
        self.assertEqual(change.percentile([float(one) for one in range(100)], 0.99), 99.0)


class Writer:
    def __init__(self) -> None:
        self.sent = b""

    def write(self, data: bytes) -> None:
        self.sent += data


def exchanged(answer: bytes, upload: bytes | None = None) -> bool:
    """What becomes of a request that is answered so, and then by the end of the connection."""
    async def run() -> bool:
        reader = asyncio.StreamReader()
        reader.feed_data(answer)
        reader.feed_eof()
        return await exchange(reader, Writer(), "/", upload)  # type: ignore[arg-type]

    return asyncio.run(run())


class Http1(unittest.TestCase):
    def test_complete_answers(self) -> None:
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        self.assertTrue(exchanged(whole + b"\r\nab"))
        self.assertFalse(exchanged(whole + b"connection: Close\r\n\r\nab"))
        self.assertTrue(exchanged(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"))

    def test_failures(self) -> None:
        for answer, why in (
            (b"", "closed without an answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "cut off within the answer"),
            (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 503 No for /"),
            (b"HTTP/1.1 200 OK\r\n\r\nab", "an answer without a length"),
        ):
            with self.assertRaises((Broken, EOFError)) as raised:
                exchanged(answer)
            self.assertEqual(told(raised.exception), why)

    def test_an_upload_must_have_arrived_whole(self) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n%d POST "
        self.assertTrue(exchanged(answer % 4, b"1234"))
        with self.assertRaises(Broken):
            exchanged(answer % 3, b"1234")


class Transport(asyncio.Transport):
    def write(self, data: object) -> None:
        del data


class Http2(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.connection = H2Connection()
        self.connection.connection_made(Transport())
        self.requests = [asyncio.ensure_future(self.connection.get("/")) for _ in range(2)]
        await asyncio.sleep(0)

    def hear(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.connection.data_received(h2_client.Frame(kind, flags, stream, payload).encoded())

    async def test_goaway_leaves_what_it_names_and_gives_back_the_rest(self) -> None:
        self.hear(h2_client.GOAWAY, 0, 0, (1).to_bytes(4, "big") + bytes(4))
        self.hear(h2_client.HEADERS, h2_client.END_HEADERS, 1, b"\x88")
        self.hear(h2_client.DATA, h2_client.END_STREAM, 1, b"page")
        await self.requests[0]
        with self.assertRaises(AskAgain):
            await self.requests[1]
        self.assertFalse(self.connection.is_open())

    async def test_an_end_without_an_answer_is_a_failure(self) -> None:
        self.hear(h2_client.HEADERS, h2_client.END_HEADERS, 1, b"\x88")
        self.connection.connection_lost(None)
        for request in self.requests:
            with self.assertRaises(Broken):
                await request

    async def test_another_status_is_a_failure(self) -> None:
        self.hear(h2_client.HEADERS, h2_client.END_HEADERS | h2_client.END_STREAM, 1, b"\x8d")
        self.hear(h2_client.RST_STREAM, 0, 3, (2).to_bytes(4, "big"))
        for request in self.requests:
            with self.assertRaises(Broken):
                await request


class WebSockets(unittest.TestCase):
    def test_the_key_of_the_rfc(self) -> None:
        self.assertEqual(echo.accept_key(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")

    def test_frames_come_back_as_they_went(self) -> None:
        async def run(is_masked: bool) -> tuple[int, bytes]:
            reader = asyncio.StreamReader()
            reader.feed_data(echo.frame(echo.TEXT, b"message 7", is_masked))
            return await echo.read_frame(reader)

        for is_masked in (False, True):
            self.assertEqual(asyncio.run(run(is_masked)), (echo.TEXT, b"message 7"))

    def test_an_end_within_a_frame(self) -> None:
        async def run() -> None:
            reader = asyncio.StreamReader()
            reader.feed_data(b"\x81\x09mess")
            reader.feed_eof()
            await echo.read_frame(reader)

        with self.assertRaises(echo.Ended):
            asyncio.run(run())


if __name__ == "__main__":
    unittest.main()
