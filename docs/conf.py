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
html_show_copyright = False
html_extra_path = ["site"]

_CONTENTS_PAGES = ("docs/README", "docs/decisions/README")
_CAPTION_OR_LINK = re.compile(
    r"^## (?P<caption>.+)$|^(?:-|\d+\.) \[(?P<title>[^]]+)\]\((?P<page>[^)#]+\.md)\)", re.MULTILINE
)


def add_table_of_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Append a hidden toctree for each section of a contents page."""
    if name not in _CONTENTS_PAGES:
        return
    caption = ""
    entries: dict[str, list[str]] = {}
    for found in _CAPTION_OR_LINK.finditer(source[0]):
        if found["caption"]:
            caption = found["caption"]
        else:
            entries.setdefault(caption, []).append(f"{found['title']} <{found['page']}>")
    for title, links in entries.items():
        options = f":hidden:\n:caption: {title}" if title else ":hidden:"
        listed = "\n".join(links)
        source[0] += f"\n```{{toctree}}\n{options}\n\n{listed}\n```\n"


def setup(app: Sphinx) -> None:
    """Register what this file adds to Sphinx."""
    app.connect("source-read", add_table_of_contents)
