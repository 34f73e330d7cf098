"""``python -m bench.routing``: what routes cost, beside the same relay without any, in the same run.

One relay has one engine. The other one has a route of three targets over two engines, with weights, orders and conditions, and
keeps the text of every answer so that it could go on elsewhere, which none has to. With ``--beside`` another version's command
is measured too. Rounds are interleaved, and ratios are taken between neighbours.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack

from bench.cost import warm_up
from bench.plain import compare, parser_of, rounds_of
from bench.report import Report
from bench.targets import nginx, pin_self, relay, routed_relay, simulator

MOST_RATIO = 1.1


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument(
        "--beside",
        metavar="COMMAND",
        help="the command headrace of another version to compare with, installed as this one is",
    )
    options = parser.parse_args()
    pin_self()
    report = Report("routing", "Cost of routes")
    with ExitStack() as stack:
        engine = stack.enter_context(simulator())
        targets = [
            stack.enter_context(nginx(engine.port)),
            stack.enter_context(relay(engine.port, name="plain")),
            stack.enter_context(routed_relay(engine.port)),
        ]
        others = ["plain"]
        if options.beside:
            targets.append(stack.enter_context(relay(engine.port, name="beside", command=options.beside)))
            others.append("beside")
        warm_up([engine, *targets])
        compare(report, targets, rounds=rounds_of(options), mine="routed", others=others, most=MOST_RATIO)
    return report.save(is_checked=options.check)


if __name__ == "__main__":
    sys.exit(main())
