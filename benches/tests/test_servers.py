import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lib.servers import render


class Templates(unittest.TestCase):
    TEMPLATE = "listen @PORT@;\n    # when log\n    access_log on;\n    # end\nserver;\n"

    def test_a_part_is_kept_only_in_its_variant(self) -> None:
        self.assertEqual(render(self.TEMPLATE, {"PORT": "80"}, {"plain"}), "listen 80;\nserver;\n")
        self.assertEqual(render(self.TEMPLATE, {"PORT": "80"}, {"log"}), "listen 80;\n    access_log on;\nserver;\n")

    def test_an_unknown_name_is_an_error(self) -> None:
        with self.assertRaises(KeyError):
            render("@POTR@", {"PORT": "80"}, set())


if __name__ == "__main__":
    unittest.main()
