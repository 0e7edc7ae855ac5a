"""What the benchmark counts, and when."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "window.py"


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    """The module, which no package holds here."""
    spec = importlib.util.spec_from_file_location("benchmark_window", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, spec.name, module)  # dataclasses look there
        spec.loader.exec_module(module)
        yield module


def trace(
    moments: list[float],
    *,
    cpu: float = 0.5,
    late: list[tuple[float, float]] | None = None,
    rss: list[tuple[float, int]] | None = None,
) -> dict[str, Any]:
    """Notes of a process that needs ``cpu`` s of CPU for a record."""
    done = [(moment, cpu * at, at) for at, moment in enumerate(moments)]
    return {"done": done, "late": late or [], "rss": rss or []}


def judge(window: Any, *traces: dict[str, Any], records: int = 1000, **more: Any) -> Any:
    return window.judge(traces, records=records, **{"margin": 4, "seconds": 1.0, **more})


def test_the_warm_up_does_not_count(window: Any) -> None:
    """The rate is that of what came after it, however slow it was."""
    slow, fast = [0.0, 0.4, 0.8, 1.2], [1.2 + 0.1 * at for at in range(1, 30)]
    figures = judge(window, trace(slow + fast))
    assert figures.rate == pytest.approx(10)
    assert figures.seconds == pytest.approx(1.0)
    assert figures.cpu_ms == pytest.approx(500)


def test_the_warm_up_ends_in_time(window: Any) -> None:
    """Slow contenders need not do all of its records."""
    figures = judge(window, trace([0.0, 1.0, 1.5, 2.0, 2.5, 9.0]), margin=64)
    assert figures.rate == pytest.approx(2)
    assert figures.records == 2


def test_the_warm_up_is_a_quarter_of_the_records(window: Any) -> None:
    """Fast contenders would have nothing left after it."""
    fast = [0.25 * at / 25 for at in range(25)] + [0.25 + 0.05 * at for at in range(75)]
    figures = judge(window, trace(fast), records=100, seconds=9.0)
    assert figures.rate == pytest.approx(20, rel=0.05)


def test_the_last_records_do_not_count(window: Any) -> None:
    """Behind them nothing is under way, so that they come faster or slower than others."""
    steady, burst = [0.1 * at for at in range(12)], [1.15, 1.16, 1.17, 1.18]
    figures = judge(window, trace(steady + burst), records=16, seconds=9.0)
    assert figures.rate == pytest.approx(10)


def test_workers_are_one_contender(window: Any) -> None:
    """Their records and their CPU add up."""
    one = trace([0.2 * at for at in range(30)])
    other = trace([0.1 + 0.2 * at for at in range(30)])
    figures = judge(window, one, other, seconds=2.0)
    assert figures.rate == pytest.approx(10)
    assert figures.cpu_ms == pytest.approx(500, rel=0.1)


def test_too_few_records_are_no_figure(window: Any) -> None:
    """A rate of one interval would be luck."""
    with pytest.raises(window.NoWindow, match="3 records were done"):
        judge(window, trace([0.0, 0.1, 0.2]), margin=64)
    with pytest.raises(window.NoWindow, match="no record"):
        judge(window, trace([]))


def test_stalls_outside_the_window_do_not_count(window: Any) -> None:
    """One that began in it does, though it ended later."""
    moments = [0.1 * at for at in range(40)]
    late = [(0.05, 9.0), (1.6, 0.001), (2.4, 0.7), (3.9, 1.0)]
    figures = judge(window, trace(moments, late=late))
    assert figures.stall_ms[2] == pytest.approx(700)


def test_a_stall_counts_for_its_length(window: Any) -> None:
    """Nobody asks the time during a stall: it stands for all who would have."""
    late = [0.0] * 100 + [0.5]
    median, worst, most = window.stalls(late)
    assert median == pytest.approx(0, abs=10)
    assert worst > 400
    assert most == pytest.approx(500)


def test_memory_is_told_from_the_start(window: Any) -> None:
    """What downloads ahead of the first record took counts, too."""
    rss = [(-1.0, 90 * 2**20), (0.0, 100 * 2**20), (0.7, 170 * 2**20), (1.5, 120 * 2**20)]
    figures = judge(window, trace([0.1 * at for at in range(40)], rss=rss))
    assert figures.rss_mib == (170, 80)
