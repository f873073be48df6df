"""`make bench`: what the nodes cost, as ratios to bare programs in the same minutes.

make bench BENCH="messages --rounds 3 --json results.json"
make bench BENCH="attachments --mib 10240"
make bench BENCH=listing
make bench BENCH="log --entries 10000000"
"""

import argparse
import json
from pathlib import Path

from tests.bench import attachments, listing, log, messages


def main() -> None:
    parser = argparse.ArgumentParser(description="What the nodes cost beside bare programs, as ratios.")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="messages|attachments|listing|log",
        help="what to measure; everything if not named",
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of messages; pair and nodes take turns")
    parser.add_argument("--count", type=int, default=1500, help="messages in each round")
    parser.add_argument("--mib", type=int, default=1024, help="size of the attachment")
    parser.add_argument("--entries", type=int, default=200_000, help="how large a log becomes")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    parts = {
        "messages": (lambda: messages.measured(options.rounds, options.count), messages.lines),
        "attachments": (lambda: attachments.measured(options.mib), attachments.lines),
        "listing": (listing.measured, listing.lines),
        "log": (lambda: log.measured(options.entries), log.lines),
    }
    if unknown := set(options.parts) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    results = {}
    for name in options.parts or parts:
        measured, lines = parts[name]
        results[name] = measured()
        print(json.dumps(results[name], indent=1), *lines(results[name]), sep="\n", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
