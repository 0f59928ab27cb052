"""What the documents say is there, is there."""

import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from consumer.cli import cli
from consumer.postgres.schema import ROLES
from consumer.settings.sections import Settings

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
# What these name has to be there; the changelog also names what is gone.
PAGES = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]

_LINK = re.compile(r"\]\((?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_COMMAND = re.compile(r"(?:^|[|(]|&&) *(?:[A-Z_]+=\S+ )*consumer (?P<rest>[^|&)]+)")
_PATH = re.compile(r"(?:consumer|devkit|tests|docs|deploy|benchmarks|locks|\.ci)/[\w./-]*")
_NOT_METRICS = {*ROLES, "consumer_postgres__dsn", "consumer_masking__keyring"}


def _text(path: Path) -> str:
    return path.read_text("utf-8")


def _anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts and MyST make them."""
    seen = Counter[str]()
    anchors = set()
    for heading in _HEADING.findall(_FENCE.sub("", _text(path))):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return anchors


def _code() -> Iterator[str]:
    """Each line of each shell block, and each piece of inline code."""
    for path in PAGES:
        for fence in _FENCE.finditer(_text(path)):
            if fence["language"] == "sh":
                yield from fence["code"].replace("\\\n", " ").splitlines()
        yield from _INLINE.findall(_FENCE.sub("", _text(path)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_to_a_file_and_each_anchor_to_a_heading(path: Path) -> None:
    dead = []
    for link in _LINK.finditer(_FENCE.sub("", _text(path))):
        target = (path.parent / link["file"]).resolve() if link["file"] else path
        if "://" in link["file"]:
            continue
        if not target.exists() or (link["anchor"] and link["anchor"] not in _anchors(target)):
            dead.append(link[0])
    assert not dead


def test_the_index_has_each_decision_once_in_order() -> None:
    listed = re.findall(r"^(\d+)\. .*\((.*\.md)\)$", _text(DECISIONS / "README.md"), re.MULTILINE)
    files = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert [name for _, name in listed] == files
    assert [int(number) for number, _ in listed] == [int(name[:4]) for name in files]
    assert len({name[:4] for name in files}) == len(files)


def test_the_commands_that_are_shown_exist_with_their_options() -> None:
    shown = {found["rest"] for line in _code() for found in _COMMAND.finditer(line)}
    assert len(shown) > 30
    assert not {rest: fault for rest in shown if (fault := _fault(rest))}


def _fault(rest: str) -> str:
    """What of a command line does not exist; empty if all of it does."""
    context = click.Context(cli, **cli.context_settings)
    command: click.Command = cli
    words = iter(re.findall(r'"[^"]*"|[^\s"]+', rest.partition(" #")[0]))
    for word in words:
        if word == "--config":
            next(words)
        elif word.startswith("--"):
            if not any(word in each.opts for each in command.get_params(context)):
                return f"no option {word}"
        elif isinstance(command, click.Group):
            found = command.get_command(context, word)
            if found is None:
                return f"no command {word}"
            command = found
    return ""


def test_the_settings_that_are_named_exist() -> None:
    sections: dict[str, type[BaseModel]] = {
        name: info.annotation
        for name, info in Settings.model_fields.items()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
    }
    known = {f"{name}.{key}" for name, section in sections.items() for key in section.model_fields}
    dotted = re.compile(rf"(?:{'|'.join(sections)})\.\w+")
    named = {code for code in _code() if dotted.fullmatch(code)}
    for path in PAGES:
        variables = re.findall(r"CONSUMER_([A-Z]+)__([A-Z_]+)", _text(path))
        named |= {f"{section}.{key}".lower() for section, key in variables}
    assert len(named) > 10
    assert named <= known


def test_the_targets_of_make_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", _text(ROOT / "Makefile"), re.MULTILINE))
    named = {found for code in _code() for found in re.findall(r"^make ([a-z-]+)", code)}
    assert len(named) > 10
    assert named <= targets


def test_the_metrics_that_are_named_exist() -> None:
    reference = ROOT / "docs" / "reference" / "metrics.md"
    known = set(re.findall(r"^\| `(\w+)` \|", _text(reference), re.MULTILINE))
    named = {name for path in PAGES for name in re.findall(r"\bconsumer_[a-z_]+\b", _text(path))}
    assert len(named & known) > 5
    assert named - _NOT_METRICS <= known


def test_the_paths_and_modules_that_are_named_exist() -> None:
    paths = {code for code in _code() if _PATH.fullmatch(code) and "NNNN" not in code}
    modules = {found for code in _code() for found in re.findall(r"^python -m ([\w.]+)", code)}
    assert len(paths) > 10
    assert not [path for path in paths if not (ROOT / path).exists()]
    assert not [module for module in modules if find_spec(module) is None]


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads(_text(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = [layer.split(" : ") for layer in contracts[0]["layers"]]
    listed = re.findall(
        r"^\d\. (`.*)$", _section(_text(CONTRIBUTING), "Where a thing goes"), re.MULTILINE
    )
    assert len(listed) == len(layers)
    for line, layer in zip(listed, layers, strict=True):
        names = {f"consumer.{name}" for name in re.findall(r"`([\w.]+)`", line)}
        assert {name for name in names if not any(each.startswith(name) for each in layer)} == set()


def _report(name: str) -> str:
    return _text(ROOT / "docs" / f"{name}.md")


def _section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_readme_quotes_the_ratios_of_the_benchmarks() -> None:
    peers = _section(_report("benchmarks"), "Beside others")
    measured = re.findall(r"^\| [^|]+ \| [\d,.]+ \| ([\d.]+) \| ", peers, re.MULTILINE)
    costs = _section(_text(ROOT / "README.md"), "What it costs")
    quoted = re.findall(r"^\| .+ \| ([\d.]+) \|$", costs, re.MULTILINE)
    assert len(quoted) > 5
    assert quoted == [f"{ratio:.2g}" for ratio in sorted(map(float, measured))]


def test_the_page_of_promises_quotes_the_reports() -> None:
    chaos, faults = _report("chaos"), _report("faults")
    times = dict(re.findall(r"^\| ([a-z -]+) \| (\d+) \|$", chaos, re.MULTILINE))
    (longest,) = re.findall(r"longest ([\d.]+) s", chaos)
    catalogue = re.findall(r"^\| \d+ \| ", faults, re.MULTILINE)
    (longest_fault,) = re.findall(r"longest ([\d.]+) s", faults)
    promises = " ".join(_text(ROOT / "docs" / "start" / "promises.md").split())
    for quoted in (
        f"killed {times['kill']} times",
        f"database crashed {times['crash database']} times",
        f"connections were cut {times['cut connections']} times",
        f"within {longest} s each time",
        f"each of {len(catalogue)} single faults",
        f"back within {longest_fault} s",
    ):
        assert quoted in promises


def test_the_reference_is_as_the_code_is() -> None:
    # S603: the script is ours.
    answer = subprocess.run(  # noqa: S603
        [sys.executable, ROOT / "docs" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.stdout, answer.returncode) == ("", 0), answer.stderr


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-c", "docs"]
    # S603: the arguments are ours.
    answer = subprocess.run(  # noqa: S603
        [*command, "-d", tmp_path / "doctrees", ".", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    pages = [*tmp_path.glob("site/**/*.html"), *tmp_path.glob("site/**/*.css")]
    assert len(pages) > len(DOCUMENTS)
    loads = re.compile(
        r"""(?:<(?:script|img|iframe)\b[^>]*\bsrc=|<link\b[^>]*\bhref=|url\(|@import)
        ["' (]*(?:https?:)?//""",
        re.VERBOSE,
    )
    assert not [page for page in pages if loads.search(page.read_text())]
