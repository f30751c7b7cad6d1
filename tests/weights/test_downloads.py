"""Downloads from a server on this machine that behaves in every bad way."""

import contextlib
import hashlib
import http.server
import os
import re
import socket
import threading

import pytest

from keras_epsanet.weights.downloads import fetch
from keras_epsanet.weights.public_files import PUBLIC_FILES

CONTENT = bytes(range(256)) * 4096  # Several chunks.
SHA = hashlib.sha256(CONTENT).hexdigest()[:8]
NAME = f"resnext50_32x4d-{SHA}.pth"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        # Some publishers refuse Python's own.
        assert self.headers["User-Agent"] == "keras-epsanet"
        behavior = self.path.split("/")[1]
        getattr(self, behavior)()

    def start(self, with_length=True):
        self.send_response(200)
        if with_length:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def good(self):
        self.start()
        self.wfile.write(CONTENT)

    def without_length(self):
        self.start(with_length=False)
        self.wfile.write(CONTENT)

    def half(self):
        self.start()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])

    def half_chunked(self):
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"100000\r\n" + CONTENT[:1000])
        self.close_connection = True

    def half_without_length(self):
        self.start(with_length=False)
        self.wfile.write(CONTENT[: len(CONTENT) // 2])

    def other(self):
        self.start()
        self.wfile.write(CONTENT[::-1])

    # Those who wait long enough get all of it.
    def silent(self):
        self.server.over.wait(5)
        with contextlib.suppress(OSError):
            self.good()

    def stuck(self):
        self.start()
        self.wfile.write(CONTENT[:1000])
        self.wfile.flush()
        self.server.over.wait(5)
        with contextlib.suppress(OSError):
            self.wfile.write(CONTENT[1000:])

    def missing(self):
        self.send_error(404)

    def moved(self):
        self.send_response(302)
        self.send_header("Location", f"/good/{NAME}")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.over = [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models" / "keras_epsanet"


@pytest.fixture
def offer(server):
    """Function that makes the entry of a file of the server."""

    def make(behavior, name="resnext50_32x4d.tv2", **changes):
        port = server.server_port
        url = f"http://127.0.0.1:{port}/{behavior}/{NAME}"
        return PUBLIC_FILES[name]._replace(url=url, **changes)

    return make


@pytest.mark.parametrize("behavior", ["good", "without_length", "moved"])
def test_a_download_is_in_the_cache(behavior, offer, cache):
    path = fetch(offer(behavior), 10)
    assert path == os.fspath(cache / NAME)
    assert (cache / NAME).read_bytes() == CONTENT
    assert os.listdir(cache) == [NAME]


def test_what_is_in_the_cache_needs_no_network(offer, cache, server, capsys):
    file = offer("good")
    fetch(file, 10)
    capsys.readouterr()
    assert fetch(file, 10) == os.fspath(cache / NAME)
    assert len(server.requests) == 1 and not capsys.readouterr().out


def test_a_damaged_file_in_the_cache_is_replaced(offer, cache, server):
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT[:-1])
    fetch(offer("good"), 10)
    assert (cache / NAME).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_damaged_file_does_not_stay_where_no_other_comes(offer, cache):
    cache.mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT[:-1])
    with pytest.raises(OSError, match="404"):
        fetch(offer("missing"), 10)
    assert os.listdir(cache) == []


@pytest.mark.parametrize(
    "behavior, reason",
    [
        ("half", "only 524288 of 1048576 bytes came"),
        ("half_chunked", "IncompleteRead"),
        ("half_without_length", f"its hash begins with .*, not with {SHA}"),
        ("other", f"its hash begins with [0-9a-f]{{8}}, not with {SHA}"),
        ("silent", "no byte came for 0.5 seconds"),
        ("stuck", "no byte came for 0.5 seconds"),
        ("missing", "HTTP Error 404: Not Found"),
    ],
)
def test_failed_downloads_say_why_and_leave_nothing(
    behavior, reason, offer, cache
):
    file = offer(behavior)
    expected = (
        f"^{re.escape(file.url)} could not be downloaded: {reason}.*"
        r"Download it by hand.* give the path of the file\.$"
    )
    with pytest.raises(OSError, match=expected):
        fetch(file, 0.5)
    assert os.listdir(cache) == []


def test_no_network_is_an_error_that_says_so(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{NAME}"
        file = PUBLIC_FILES["resnext50_32x4d.tv2"]._replace(url=url)
        with pytest.raises(OSError, match=f"{url} could not.*efused.*hand"):
            fetch(file, 10)
    assert os.listdir(cache) == []


def test_an_interruption_leaves_nothing(offer, cache, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras.utils.Progbar.update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(offer("good"), 10)
    assert os.listdir(cache) == []


def test_an_md5_is_checked_where_it_is_given(offer, cache):
    good = hashlib.md5(CONTENT).hexdigest()
    assert fetch(offer("good", md5=good), 10)
    os.remove(cache / NAME)
    wrong = good.translate(str.maketrans("0123456789", "1234567890"))
    with pytest.raises(OSError, match=f"begins with {good}, not with {wrong}"):
        fetch(offer("good", md5=wrong), 10)


@pytest.mark.parametrize(
    "behavior, size", [("good", "Size: 1.0 MiB"), ("without_length", "95.8")]
)
def test_the_terms_are_printed_before_the_download(
    behavior, size, offer, cache, capsys
):
    file = offer(behavior)
    fetch(file, 10)
    out = capsys.readouterr().out
    for text in (
        f"Downloading {file.url}\n",
        size,
        "Publisher: torchvision\n",
        "License: BSD-3-Clause",
        "Trained on: ImageNet-1k",
        "https://arxiv.org/abs/1611.05431",
    ):
        assert out.count(text) == 1
    assert out.index("To cite: ") < out.index("byte")


def test_what_was_reached_is_printed_where_it_is_known(offer, cache, capsys):
    fetch(offer("good"), 10)
    assert "Reached" not in capsys.readouterr().out
    (cache / NAME).unlink()
    fetch(offer("good", reached="AP of boxes 38.2"), 10)
    assert "\nReached: AP of boxes 38.2\n" in capsys.readouterr().out


def test_a_license_for_non_commercial_use_is_printed(offer, cache, capsys):
    fetch(offer("good", name="resnext50_32x4d.fb_ssl"), 10)
    assert "License: CC-BY-NC 4.0: non-commercial use only" in (
        capsys.readouterr().out
    )


def test_a_cache_that_cannot_be_written_to_is_elsewhere(
    offer, monkeypatch, tmp_path
):
    home = tmp_path / "home"
    home.write_text("a file in the place of a folder")
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / ".keras" / "models" / "keras_epsanet"
    assert fetch(offer("good"), 10) == os.fspath(folder / NAME)


def test_without_keras_home_the_cache_is_in_the_home_folder(
    offer, monkeypatch, tmp_path
):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".keras" / "models" / "keras_epsanet"
    assert fetch(offer("good"), 10) == os.fspath(folder / NAME)
