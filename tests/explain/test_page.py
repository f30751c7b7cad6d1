"""A page that holds its pictures."""

import base64
import html.parser

from keras_epsanet.explain.page import Picture, Section, write_page


class Reader(html.parser.HTMLParser):
    """Notes the tags and the texts of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def test_pictures_are_in_the_page(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG one")
    (tmp_path / "b.png").write_bytes(b"\x89PNG two")
    pictures = [
        Picture(str(tmp_path / "a.png"), 'A "hat" <b>'),
        Picture(str(tmp_path / "b.png"), "5×5"),
    ]
    section = Section("Why & how", "What is shown <here>.", [pictures])
    write_page(tmp_path / "index.html", "Title", [section])
    page = read(tmp_path / "index.html")
    images = [x for tag, x in page.tags if tag == "img"]
    prefix = "data:image/png;base64,"
    assert all(x["src"].startswith(prefix) for x in images)
    found = [base64.b64decode(x["src"][len(prefix) :]) for x in images]
    assert found == [b"\x89PNG one", b"\x89PNG two"]
    assert [x["alt"] for x in images] == ['A "hat" <b>', "5×5"]
    assert ("div", {"class": "row pair"}) in page.tags
    for text in ("Title", "Why & how", "What is shown <here>.", 'A "hat" <b>'):
        assert text in page.texts


def test_nothing_comes_from_elsewhere(tmp_path):
    write_page(tmp_path / "index.html", "Title", [])
    page = read(tmp_path / "index.html")
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe"}
    assert "http" not in (tmp_path / "index.html").read_text()


def test_pairs_stand_below_each_other_where_there_is_little_room(tmp_path):
    """A picture of half a telephone's width cannot be read."""
    write_page(tmp_path / "index.html", "Title", [])
    page = (tmp_path / "index.html").read_text()
    half = page.index("calc(50%")
    wide = page.rindex("@media (min-width", 0, half)
    assert page[wide:half].count("}") == 0
