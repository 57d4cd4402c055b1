"""What `try-docs.py` takes for a command, and for the same as what is written."""
import importlib.util
import unittest
from pathlib import Path

spec = importlib.util.spec_from_file_location("try_docs", Path(__file__).parent.parent / "try-docs.py")
try_docs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(try_docs)


def is_like(written, printed):
    lines = [(number, line) for number, line in enumerate(written, 1)]
    return try_docs.differs(lines, printed) is None


class Shapes(unittest.TestCase):
    def test_what_may_differ(self):
        for written, printed in [
            (["up 42 s, 3 connections"], ["up 7 s, 12 connections"]),
            (["server 127.0.0.1:3000   up"], ["server 127.0.0.1:3000 up"]),
            (["Tue, 02 Mar 2027 10:00:00 GMT"], ["Sat, 30 Jan 2026 09:59:59 GMT"]),
            (["start 730b3c88 done"], ["start d92d6287 done"]),
            (["200   # a remark"], ["200"]),
            (["took 230 ms"], ["took 7 ms"]),
            (["a … z"], ["a b c z"]),
            (["…", "end"], ["one", "two", "end"]),
            (["begin", "…"], ["begin"]),
            (["…", "two", "…"], ["one", "two", "two", "three"]),
        ]:
            self.assertTrue(is_like(written, printed), (written, printed))

    def test_what_may_not(self):
        for written, printed in [
            (["HTTP/2 200"], ["HTTP/2 503"]),
            (["200"], ["404"]),
            (["is ready"], ["is draining"]),
            (["one", "two"], ["one"]),
            (["one"], ["one", "two"]),
            (["…", "end"], ["one", "two"]),
            ([], ["anything"]),
            (["a … z"], ["a b c"]),
            (["3 connections"], ["no connections"]),
        ]:
            self.assertFalse(is_like(written, printed), (written, printed))


class Pages(unittest.TestCase):
    PAGE = """text
<!-- try: run
hidden
-->
```console
$ one \\
    more   # exit 1
printed
$ cat <<X
in it
X
```
<!-- try: not reason -->
```sh
never
```
```toml
$ no command
```
"""

    def test_blocks_and_commands(self):
        hidden, console, skipped, other = try_docs.blocks(self.PAGE)
        self.assertEqual((hidden.language, hidden.lines, hidden.line), ("hidden", ["hidden"], 2))
        self.assertEqual(
            try_docs.commands(console),
            [(6, "one \\\n    more   # exit 1", [(8, "printed")]), (9, "cat <<X\nin it\nX", [])])
        self.assertEqual(skipped.steer, ("not", "reason"))
        self.assertEqual((other.language, other.steer), ("toml", None))

    def test_a_page_that_ends_within_something(self):
        for page in ("```sh\n", "<!-- try: run\n", "<!-- try: not why -->\n", "<!-- try: nothing -->\n"):
            with self.assertRaises(SystemExit):
                try_docs.blocks(page)


if __name__ == "__main__":
    unittest.main()
