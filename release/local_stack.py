"""``docs/local-stack.md``: how the local stack differs from AWS, from the code that makes the differences."""

from typing import Final

from sandbox import bridges

_PAGE: Final = """# The local stack, and AWS

`make up` deploys `template.yaml` to an embedded cloud, MiniStack ([decision 0008](decisions/0008-local-stack.md)).
This page is written by `make docs` from `sandbox/bridges.py`, which leaves out or bridges what differs; a test
compares, and `make up` prints a line of it.

| of the template, or in the code | in the local stack | because |
|---|---|---|
{rows}

MiniStack accepts what follows and does nothing with it. Only AWS shows it, or a test on the template:

{only}
"""


def page() -> str:
    """Return the page in Markdown."""
    rows = "\n".join(f"| `{name}` | {_code(how)} | {_code(reason)} |" for name, how, reason in bridges.listed())
    return _PAGE.format(rows=rows, only="\n".join(f"- {each};" for each in bridges.ONLY_ON_AWS)[:-1] + ".")


def _code(text: str) -> str:
    return text.replace("``", "`")
