"""Sphinx builds the site with this: `make docs`.

The pages are plain Markdown, so that they also read well on a code host. The lists of links in a
contents page are its table of contents.
"""

import re

from sphinx.application import Sphinx

project = "login-consumer"
html_title = project
extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/**.md"]
myst_heading_anchors = 4
highlight_language = "none"
html_theme = "furo"
html_copy_source = False
html_extra_path = ["site"]

_CONTENTS_PAGES = ("docs/README", "docs/decisions/README")
_CAPTION_OR_PAGE = re.compile(
    r"^## (?P<caption>.+)$|^(?:-|\d+\.) \[[^]]+\]\((?P<page>[^)#]+\.md)\)", re.MULTILINE
)


def add_table_of_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Append a hidden toctree for each section of a contents page."""
    if name not in _CONTENTS_PAGES:
        return
    caption = ""
    pages: dict[str, list[str]] = {}
    for found in _CAPTION_OR_PAGE.finditer(source[0]):
        if found["caption"]:
            caption = found["caption"]
        else:
            pages.setdefault(caption, []).append(found["page"])
    for title, names in pages.items():
        options = f":hidden:\n:caption: {title}" if title else ":hidden:"
        entries = "\n".join(names)
        source[0] += f"\n```{{toctree}}\n{options}\n\n{entries}\n```\n"


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.connect("source-read", add_table_of_contents)
