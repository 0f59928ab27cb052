"""The pictures of the report."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.results import Own, Peers

_COLOR = "#4477aa"
_OTHER_COLOR = "#bbbbbb"
_SIZE = (7.0, 3.2)
_SECOND_COLOR = "#cc6677"

Place = Callable[[str], Path]


def draw_own(own: Own, place: Place) -> None:
    """Draw the growth of the consumer alone."""
    backlog = _picture("messages in the queue", "CPU µs a message")
    sizes = [each.value for each in own.backlogs]
    backlog.semilogx(sizes, [each.run.cpu_us for each in own.backlogs], "o-", color=_COLOR)
    backlog.set_ylim(bottom=0)
    _memory_beside(backlog, sizes, [each.run.peak_rss_bytes / 2**20 for each in own.backlogs])
    _save(backlog, place("backlog"))
    latency = _picture("messages a second", "ms from sending to commit")
    rates = [each.rate for each in own.latencies]
    latency.loglog(rates, [each.p99_ms for each in own.latencies], "o-", color=_SECOND_COLOR)
    latency.loglog(rates, [max(1, each.p50_ms) for each in own.latencies], "o-", color=_COLOR)
    latency.legend(["p99", "p50"], frameon=False)
    _save(latency, place("latency"))
    pollers = _picture("pollers, each call 20 ms longer", "messages a second")
    counts = [each.value for each in own.pollers]
    pollers.plot(counts, [each.run.rate for each in own.pollers], "o-", color=_COLOR)
    pollers.set_ylim(bottom=0)
    _save(pollers, place("pollers"))


def draw_peers(peers: Peers, place: Place) -> None:
    """Draw the CPU a message of each peer, on a logarithmic axis."""
    ran = [peer for peer in reversed(peers.peers) if peer.runs]
    axes = _picture("CPU µs a message (logarithmic)", "")
    costs = [statistics.median(run.cpu_us for run in peer.runs) for peer in ran]
    colors = [_COLOR if peer.name == "consumer" else _OTHER_COLOR for peer in ran]
    axes.barh([peer.title for peer in ran], costs, color=colors)
    axes.set_xscale("log")
    for position, cost in enumerate(costs):
        axes.text(cost * 1.05, position, f"{cost:,.0f}", va="center")
    axes.set_xlim(right=max(costs) * 2)
    _save(axes, place("peers"))


def _memory_beside(axes: Axes, sizes: Sequence[int], mib: Sequence[float]) -> None:
    memory = axes.twinx()
    memory.semilogx(sizes, mib, "s--", color=_SECOND_COLOR)
    memory.set_ylabel("peak RSS MiB", color=_SECOND_COLOR)
    memory.set_ylim(bottom=0)


def _picture(x: str, y: str) -> Axes:
    axes = Figure(figsize=_SIZE, layout="constrained").add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(axes: Axes, path: Path) -> None:
    figure = axes.get_figure(root=True)
    assert figure is not None
    # The same numbers give the same file.
    with mpl.rc_context({"svg.hashsalt": path.name, "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
