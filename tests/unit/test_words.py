"""One word for one thing: words that were replaced stand nowhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_WORDS_BUT_RELATIVES = r"(?:(?!that |which |who )\w+ ){1,5}"
_VERB = r"(?:is|are|was|were|has|have|had|may|can|could|would|will|does|do|must|takes?|needs?)"

# What not to say, as a pattern, and what to say instead. A space stands for whatever separates two
# words: in an identifier an underscore or a capital, in a comment the end of a line.
RETIRED = {
    r"laps(?:e|es|ed|ing)|(?<!returns\x20)void": "expired (receipt handle)",
    r"g(?:ive|ives|iven|iving|ave) (?:\w+ )?back": "release",
    r"show(?:n|s|ing)? (?:\w+ )?to others?": "release",
    r"(?:come|comes|came|coming) (?:back )?again": "redelivered",
    r"upkeep|ledger (?:is |was )?(?:not )?kept|keep(?:s|ing)? (?:the )?ledger": "prune",
    r"(?<!type_)guard(?:s|ed|ing)?": "key registry",
    r"facts": "queue attributes",
    r"hooks": "telemetry events",
    r"land(?:s|ed|ing)?": "written, replayed",
    r"desk": "Recoverer",
    r"suspects?": "TokenColumn",
    r"diagnos(?:is|es|ed?)": "explanation",
    r"persons?": "subject",
    r"told": "reported",
    r"who(?:m|se)?ever": "anyone who",
    r"of (?:no )?use": "useless, used",
    r"on record": "audited",
    r"not taken over": "rejected",
    rf", for {_WORDS_BUT_RELATIVES}{_VERB}": "because",
}
_GAP = r"""[\s_#"']*"""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(
        f"(?:(?<![a-z])|(?=,))(?:{pattern.replace(' ', _GAP)})(?![a-z])", re.IGNORECASE
    )


_WORDS = {_compiled(pattern): say for pattern, say in RETIRED.items()}


def retired_in(text: str) -> Iterator[tuple[int, str]]:
    """Each retired word of a text: its line, and what to say instead."""
    apart = _HUMP.sub("_", text)
    for pattern, say in _WORDS.items():
        for found in pattern.finditer(apart):
            words = " ".join(found[0].split())
            yield apart.count("\n", 0, found.start()) + 1, f"not {words!r} but {say!r}"


def _files() -> Iterator[Path]:
    for pattern in (
        *("*.md", "*.toml", "docs/**/*.md", "docs/*.py"),
        *("consumer/**/*.py", "consumer/**/*.sql", "devkit/**/*.py"),
        *("tests/**/*.py", "benchmarks/**/*.py"),
        *("Makefile", "Dockerfile", "docker-compose.yml", "deploy/*.*"),
    ):
        for path in ROOT.glob(pattern):
            if not _says_what_was(path):
                yield path


def _says_what_was(path: Path) -> bool:
    """The changelog names what is gone, migrations never change, and this file has the list."""
    return path.name in {"CHANGELOG.md", Path(__file__).name} or path.parent.name == "migrations"


@pytest.mark.parametrize(
    "text",
    [
        *("was given back", "_given_back", "GivenBack", "it comes\n    # again", "ledger kept"),
        *("PERSONS", "kept, for the last poll may take long", "told", "on record"),
    ],
)
def test_a_retired_word_is_found_however_it_is_written(text: str) -> None:
    line, _ = next(retired_in(f"first line\n{text}"))
    assert line == 2


@pytest.mark.parametrize(
    "text",
    [
        *("avoid", "island", "landscape", "sys.excepthook", "desktop", "give it to them"),
        *("asked, for statements that take no parameters", "a personal record", "TypeGuard"),
    ],
)
def test_a_word_that_only_looks_like_one_is_left_alone(text: str) -> None:
    assert not list(retired_in(text))


def test_no_retired_word_is_used() -> None:
    places = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in _files()
        for line, what in sorted(retired_in(path.read_text("utf-8")))
    ]
    assert not places, "\n".join(["", *places])
