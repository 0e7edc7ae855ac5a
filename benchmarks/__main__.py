"""Measures, and says what was found: ``tox run -e bench -- --help``."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import plots, report
from benchmarks.cases import FULL, QUICK
from benchmarks.running import Problem, Result, Runner, play
from benchmarks.servers import servers
from faust_s3.local import LocalStackError

RESULTS = Path(__file__).parent / "results"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="faust_s3 beside others, on the same servers."
    )
    parser.add_argument("--quick", action="store_true", help="what fits into 3 minutes")
    parser.add_argument("--case", action="append", help="only those with this in their names")
    parser.add_argument("--embedded", action="store_true", help="not on Apache Kafka")
    parser.add_argument("--list", action="store_true", help="name the cases and end")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where JSON and PNG go")
    parser.add_argument("--directory", type=Path, help="for data and logs, kept; needs 20 GB")
    return parser.parse_args()


def main() -> int:
    """Measure what the command line asks for, and return the exit code."""
    options = parse()
    plan, name = (QUICK, "quick") if options.quick else (FULL, "full")
    if options.case:
        named = [case for case in plan.cases if any(text in case.name for text in options.case)]
        plan = replace(plan, cases=named)
    if options.list:
        print(*(f"{case.name}: {', '.join(case.contenders)}" for case in plan.cases), sep="\n")
        return 0
    began = time.monotonic()
    console = Console(stderr=True)
    # A polite kill stops servers and contenders as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = 0
    results: list[Result] = []
    facts: dict[str, object] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        with (
            tempfile.TemporaryDirectory(prefix="faust-s3-bench-") as made,
            Progress(*columns, console=console) as progress,
        ):
            bar = progress.add_task("starting the servers", total=1.0)
            directory = options.directory or Path(made)
            directory.mkdir(parents=True, exist_ok=True)
            latencies = {case.latency for case in plan.cases}
            with servers(directory, latencies, embedded=options.embedded) as on:
                runner = Runner(on, directory, plan.part)
                for found in play(
                    plan,
                    runner,
                    began=began,
                    say=lambda text, part: progress.update(bar, description=text, completed=part),
                ):
                    what = f"{found.case}: {found.contender}:"
                    if isinstance(found, Problem):
                        code = 1
                        console.print(what, found.text, markup=False, highlight=False)
                    else:
                        results.append(found)
                        console.print(what, f"{found.figures.rate:.1f}/s", highlight=False)
                facts["broker"] = on.broker.name
                facts["wire"] = runner.wire
    except KeyboardInterrupt:
        console.print("Interrupted; the servers are stopped. What was measured:")
        code = 130
    except LocalStackError as exc:
        console.print(f"Failed: {exc}", markup=False)
        code = 1
    facts["minutes"] = round((time.monotonic() - began) / 60, 1)
    report.save(options.results / f"{name}.json", plan, results, facts=facts)
    medians = report.summaries(results)
    plots.draw(options.results, name, medians, results)
    tables = f"{report.goals(medians, facts)}\n\n{report.markdown(medians)}\n"
    (options.results / f"{name}.md").write_text(tables, encoding="utf-8")
    print(tables)
    return code


if __name__ == "__main__":
    sys.exit(main())
