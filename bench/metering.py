"""``python -m bench.metering``: what keys, limits, budgets and bills cost, beside the same relay without them, in the same run.

One relay lets anybody in and knows no price; the other one looks up a key for each request, holds it to limits of its key, its
owner, its model and the engine, charges every tick to four budgets, and enters a tagged bill into the usage. Rounds are
interleaved, and ratios are taken between neighbours.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from bench.cost import warm_up
from bench.plain import compare, parser_of, rounds_of
from bench.report import Report
from bench.targets import metered_relay, nginx, pin_self, relay, simulator

MOST_RATIO = 1.15


def main() -> int:
    options = parser_of(__doc__).parse_args()
    pin_self()
    report = Report("metering", "Cost of keys, limits and money")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        targets = [
            stack.enter_context(nginx(engine.port)),
            stack.enter_context(relay(engine.port, name="plain")),
            stack.enter_context(metered_relay(engine.port)),
        ]
        warm_up([engine, *targets])
        compare(report, targets, rounds=rounds_of(options), mine="metered", most=MOST_RATIO)
    return report.save(is_checked=options.check)


if __name__ == "__main__":
    sys.exit(main())
