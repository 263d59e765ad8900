"""Measure otoscribe beside what others use, in turn, in one run: `make bench`, or `make bench ONLY=training`.

    python -m bench                  every row, on all cores
    python -m bench training         one row
    python -m bench --threads 1      on one core
    python -m bench --quick          few rounds of small amounts, to see that everything works

Writes `latest.md`, `latest.png` and `latest.json` to `bench/results/`, from this run alone.
"""

import argparse
import sys

from bench import report
from bench.compare import Result
from bench.rows import ALSO_ON_ONE_CORE, ROWS, in_own_process
from otoscribe.processors import cores


def main() -> None:
    """Measure the rows that were asked for."""
    listed = "\n".join(f"  {row:12}{what}" for row, what in ROWS.items())
    parser = argparse.ArgumentParser(
        "python -m bench", formatter_class=argparse.RawDescriptionHelpFormatter, epilog=f"rows:\n{listed}"
    )
    parser.add_argument("row", nargs="?", choices=ROWS, metavar="ROW", help="one of those below; else all")
    parser.add_argument("--threads", type=int, default=cores(), help="cores to use (default: all)")
    parser.add_argument("--quick", action="store_true", help="see that everything works; figures mean little")
    chosen = parser.parse_args()
    description = report.machine(chosen.threads)
    print(description, flush=True)
    results: list[Result] = []
    failures: list[str] = []
    for row in [chosen.row] if chosen.row else ROWS:
        print(f"\n{row}: {ROWS[row]}", flush=True)
        for threads in sorted({1, chosen.threads} if row in ALSO_ON_ONE_CORE else {chosen.threads}):
            found, failure = in_own_process(row, threads, chosen.quick)
            results += found
            if failure is not None:
                failures.append(failure)
                print(f"  not measured: {failure}", file=sys.stderr, flush=True)
            report.write(results, description, failures)
    print(f"\nWritten to {report.RESULTS}.")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
