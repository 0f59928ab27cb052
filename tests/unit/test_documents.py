"""What the documents say is there, is there."""

import re
from pathlib import Path

import pytest
from click import Context, Group

from consumer.cli import cli
from consumer.settings.sections import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DECISIONS = ROOT / "docs" / "decisions"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_to_a_file(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text())
    missing = [
        link for link in links if "://" not in link and not path.parent.joinpath(link).exists()
    ]
    assert not missing


def test_the_index_has_each_decision_once_in_order() -> None:
    listed = re.findall(
        r"^(\d+)\. .*\((.*\.md)\)$", (DECISIONS / "README.md").read_text(), re.MULTILINE
    )
    files = sorted(path.name for path in DECISIONS.glob("0*.md"))
    assert [name for _, name in listed] == files
    assert [int(number) for number, _ in listed] == [int(name[:4]) for name in files]
    assert len({name[:4] for name in files}) == len(files)


def test_the_readme_has_each_command_and_no_other() -> None:
    section = README.partition("### The command line")[2].partition("\n#")[0]
    rows = [row.split() for row in re.findall(r"^\| `([^`]+)` \| ", section, re.MULTILINE)]
    context = Context(cli)
    assert sorted(name for name, *_ in rows) == sorted(cli.list_commands(context))
    for name, *rest in rows:
        command = cli.get_command(context, name)
        if isinstance(command, Group):
            assert sorted(rest[0].split("\\|")) == sorted(command.list_commands(context))


def test_the_readme_names_settings_that_exist() -> None:
    named = set(re.findall(r"CONSUMER_([A-Z]+)__([A-Z_]+)", README))
    assert named
    for section, key in named:
        settings = Settings.model_fields[section.lower()].annotation
        assert settings is not None
        assert key.lower() in settings.model_fields


def test_the_readme_names_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z-]+)", README, re.MULTILINE))
    assert len(named) > 10
    assert named <= targets
