"""One page that holds all of its pictures."""

import base64
import html
from typing import NamedTuple

from keras_epsanet import storage
from keras_epsanet.atomic import write_file

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem;
  max-width: 90rem; color: #222; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
@media (min-width: 50rem) { .pair > figure { max-width: calc(50% - .5rem); } }
figure { margin: 0 0 1rem; } img { max-width: 100%; height: auto; }
figcaption { font-size: .875rem; color: #555; overflow-wrap: anywhere; }
"""


class Picture(NamedTuple):
    """A picture of a page.

    Attributes:
        path: Path of a PNG file.
        caption: String.
    """

    path: str
    caption: str


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        title: String.
        text: String, what the pictures show.
        rows: List of lists of `Picture` that stand beside one another.
    """

    title: str
    text: str
    rows: list


def write_page(path, title, sections):
    """Writes a page in HTML that needs no other file and no network.

    Args:
        path: Path of the file.
        title: String.
        sections: List of `Section`.

    Example:

    >>> write_page("empty.html", "Nothing & more", [])
    >>> "<h1>Nothing &amp; more</h1>" in open("empty.html").read()
    True
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>",
        f"<body><h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts.append(f"<p>{html.escape(section.text)}</p>")
        for row in section.rows:
            figures = "".join(map(_figure, row))
            kind = "row pair" if len(row) == 2 else "row"
            parts.append(f'<div class="{kind}">{figures}</div>')
    parts.append("</body></html>\n")
    write_file(path, "\n".join(parts))


def _figure(picture):
    with storage.open_file(picture.path, "rb") as file:
        data = base64.b64encode(file.read()).decode("ascii")
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
