"""Writes the table of docs/events.md from schemas/events.json.

`make docs` runs it; a test compares what it would write with what is there.
"""

from pathlib import Path

from gateway.core.event import FEED_TYPES, TELLINGS, TYPES

PATH = Path(__file__).parent / "events.md"
"""Where the page lies."""

_BEGIN, _END = "<!-- types: written by make docs -->\n", "<!-- end of types -->\n"


def page() -> str:
    """Return the page with its table as the schema has it."""
    text = PATH.read_text(encoding="utf-8")
    before, after = text.split(_BEGIN)[0], text.split(_END)[1]
    return f"{before}{_BEGIN}{_table()}{_END}{after}"


def _table() -> str:
    lines = ["", "| type | what happened | entry of the log |", "| --- | --- | --- |"]
    for type_, meaning in TYPES.items():
        entries = ", ".join(f"`{event}`" for event, telling in TELLINGS.items() if type_ in telling.every)
        name = f"`{type_}`" if type_ in FEED_TYPES else f"`{type_}` (to one webhook, in no feed)"
        lines.append(f"| {name} | {meaning} | {entries} |")
    return "\n".join([*lines, "", ""])


if __name__ == "__main__":
    PATH.write_text(page(), encoding="utf-8")
