"""Puts a table in its place in the README."""


def replaced(readme: str, name: str, text: str) -> str:
    """The README with this text between `<!-- name -->` and `<!-- /name -->`."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in readme or end not in readme:
        raise ValueError(f"the README has no place for it: {start.strip()} … {end}")
    before, rest = readme.split(start, 1)
    return before + start + text + end + rest.split(end, 1)[1]
