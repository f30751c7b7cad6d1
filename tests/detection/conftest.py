import pathlib

import pytest


@pytest.fixture
def plain(monkeypatch):
    """The module `plain_boxes` of this folder."""
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parent))
    import plain_boxes

    return plain_boxes
