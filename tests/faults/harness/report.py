"""Reports: a table in Markdown, and the timeline as a picture."""

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from tests.faults.harness.outcome import BACK_SECONDS, TRIES_A_SECOND, Outcome, percentile
from tests.faults.harness.timeline import Timeline

_COLUMNS = 3
_THROUGHPUT, _IN_FLIGHT, _FAULT = "#1f77b4", "#ff7f0e", "#d62728"
_POINTS = 600
_SLOWEST = 3


def table(outcomes: Sequence[Outcome]) -> str:
    """A row for each run, and below it how the targets were met."""
    lines = [
        "| | fault | verdict | back after, s | requests/s while down | messages |",
        "|--:|---|---|--:|--:|--:|",
        *(_row(outcome) for outcome in outcomes),
    ]
    return "\n".join([*lines, "", *targets(outcomes)])


def _row(outcome: Outcome) -> str:
    back, tries = outcome.back_seconds, outcome.tries
    sent = f"{outcome.result.verdict.sent:,}" if outcome.result else ""
    return (
        f"| {outcome.number} | {outcome.name} | {outcome.verdict} "
        f"| {f'{max(back):.1f}' if back else ''} | {f'{max(tries):.1f}' if tries else ''} "
        f"| {sent} |"
    )


def targets(outcomes: Sequence[Outcome]) -> list[str]:
    """How the bounds were kept over all runs, in sentences."""
    named = sorted(each for outcome in outcomes for each in outcome.back)
    back = [seconds for seconds, _ in named]
    tries = [each for outcome in outcomes for each in outcome.tries]
    lines = []
    if back:
        p99 = percentile(back, 0.99)
        lines.append(
            f"- Back at full rate after {len(back)} healings: median {percentile(back, 0.5):.1f} s,"
            f" p99 {p99:.1f} s ({_met(p99, BACK_SECONDS)}), longest {max(back):.1f} s."
        )
        slowest = ", ".join(
            f"{name} {seconds:.1f} s" for seconds, name in named[: -_SLOWEST - 1 : -1]
        )
        lines.append(f"- The slowest: {slowest}.")
    if tries:
        lines.append(
            f"- Requests a second and replica to what was down: at most {max(tries):.1f} "
            f"({_met(max(tries), TRIES_A_SECOND)})."
        )
    return lines


def _met(value: float, bound: float) -> str:
    return f"target: {bound:.0f}, {'met' if value <= bound else 'missed'}"


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """A panel for each run that was made: throughput, in flight, and the faults as bands."""
    made = [outcome for outcome in outcomes if outcome.timeline and outcome.timeline.seen]
    columns = min(_COLUMNS, len(made))
    rows = math.ceil(len(made) / columns)
    mpl.rcParams["svg.hashsalt"] = "consumer"  # the same data, the same file
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(16 if columns == 1 else 6 * columns, max(2.4 * rows, 4.5)),
        squeeze=False,
        layout="constrained",
    )
    panels = [axis for row in axes for axis in row]
    for axis, outcome in zip(panels, made, strict=False):
        assert outcome.timeline is not None
        _draw(axis, outcome.timeline)
        number = f"{outcome.number} " if outcome.number else ""
        axis.set_title(f"{number}{outcome.name}", fontsize=9)
    for axis in panels[len(made) :]:
        axis.set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _draw(axis: Axes, timeline: Timeline) -> None:
    times, rates = timeline.throughput()
    for span in timeline.spans:
        healed = timeline.seen[-1].at if span.healed is None else span.healed
        axis.axvspan(span.began, healed, color=_FAULT, alpha=0.15, linewidth=0)
    axis.axvspan(0, 0, color=_FAULT, alpha=0.3, label="faults")
    step = max(1, len(times) // _POINTS)
    averages = [_mean(rates[at : at + step]) for at in range(0, len(rates), step)]
    axis.plot(times[::step], averages, color=_THROUGHPUT, linewidth=0.9, label="messages a second")
    looks = timeline.seen[::step]
    axis.plot(
        [seen.at for seen in looks],
        [seen.in_flight for seen in looks],
        color=_IN_FLIGHT,
        linewidth=0.9,
        label="in flight",
    )
    axis.set_ylim(bottom=0)
    axis.tick_params(labelsize=7)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
