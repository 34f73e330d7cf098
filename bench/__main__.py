"""``python -m bench``: every benchmark with its defaults, in about half an hour. Options go to those that have them.

Fails when one of them does; with ``--check`` that is also when a bar is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and no sweeps")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    checked = ["--check"] if options.check else []
    quick = ["--quick"] if options.quick else []
    commands = {
        "speed": [*checked, *quick],
        "doors": [*checked, *quick],
        "compression": quick,
        "metering": [*checked, *quick],
        "routing": [*checked, *quick],
        "scale": checked,
        "slow_client": checked,
        "markdown": [*checked, *quick],
    }
    codes = [
        subprocess.run([sys.executable, "-m", f"bench.{name}", *arguments], check=False).returncode
        for name, arguments in commands.items()
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
