"""Frames of videos: in their order, upright, and of files that are broken."""

import sys
import types

import numpy as np
import pytest

from keras_epsanet.data import video

av = pytest.importorskip("av")

SIZE = (96, 128)
# Kinds of files that say in different ways how long they are.
KINDS = [
    ("a.mp4", "libx264", {"movflags": "faststart"}),
    ("b.mp4", "mpeg4", {}),
    ("c.avi", "mpeg4", {}),
    ("d.mkv", "mpeg4", {}),
]


def write(path, codec="mpeg4", options=None, frames=12, rate=2):
    """A video of gray frames, each 20 lighter than the one before."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for i in range(frames):
            pixels = np.full((*SIZE, 3), 10 + 20 * i, "uint8")
            # So that the file has some length.
            pixels[:72] += np.random.default_rng(i).integers(
                0, 30, (72, *pixels.shape[1:]), "uint8"
            )
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return str(path)


@pytest.mark.parametrize("name, codec, options", KINDS)
def test_frames_come_in_their_order(tmp_path, name, codec, options):
    path = write(tmp_path / name, codec, options)
    with video.VideoReader(path) as reader:
        assert reader.number == 12 and reader.rate == 2
        frames = list(reader)
    assert len(frames) == 12
    for i, frame in enumerate(frames):
        assert frame.shape == (*SIZE, 3) and frame.dtype == "uint8"
        assert abs(frame[80:].mean() - (10 + 20 * i)) < 4


@pytest.mark.parametrize("share", [0.5, 0.65])
@pytest.mark.parametrize("name, codec, options", KINDS)
def test_of_a_video_that_is_cut_off_the_frames_before_are_read(
    tmp_path, name, codec, options, share
):
    path = write(tmp_path / name, codec, options)
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[: int(share * len(content))])
    frames = []
    message = "is cut off or damaged: .* of 12 frames could be read"
    if name == "b.mp4":  # What says where its frames are is at its end.
        message = "b.mp4 cannot be read as a video: "
    with pytest.raises(video.BrokenVideo, match=message):
        with video.VideoReader(path) as reader:
            for frame in reader:
                frames.append(frame)
    assert len(frames) == 0 if name == "b.mp4" else 1 <= len(frames) < 11


def test_damage_in_the_middle_does_not_end_the_rest(tmp_path):
    path = write(tmp_path / "a.mp4", "libx264", {"movflags": "faststart"})
    with open(path, "r+b") as file:
        content = bytearray(file.read())
        middle = content.index(b"mdat") + (len(content) * 3) // 8
        content[middle : middle + 40] = b"\xff" * 40
        file.seek(0)
        file.write(content)
    frames = []
    with video.VideoReader(path) as reader:
        try:
            frames += [x for x in reader]
        except video.BrokenVideo as error:
            assert "damaged" in str(error)
        else:
            assert len(frames) == 12


@pytest.mark.parametrize("content", [b"", b"no video, but some text" * 40])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "no.mp4"
    path.write_bytes(content)
    with pytest.raises(video.BrokenVideo, match="no.mp4 cannot be read as a"):
        video.VideoReader(str(path))
    with pytest.raises(video.BrokenVideo, match="No such file or directory"):
        video.VideoReader(str(tmp_path / "none.mp4"))


def test_sound_alone_is_no_video(tmp_path):
    path = str(tmp_path / "sound.mp4")
    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate, frame.pts = 8000, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(video.BrokenVideo, match="has no pictures"):
        video.VideoReader(path)


@pytest.mark.parametrize(
    "rotation, corner",
    [(0, (0, 0)), (90, (3, 0)), (-90, (0, 1)), (180, (1, 3))],
)
def test_frames_are_turned_upright(rotation, corner):
    pixels = np.zeros((2, 4, 3), "uint8")
    pixels[0, 0] = 255
    turned = video.upright(pixels, rotation)
    assert turned.shape == ((4, 2, 3) if rotation % 180 else (2, 4, 3))
    assert turned[corner].min() == 255 and turned.sum() == 3 * 255


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_what_is_written_is_read_again(tmp_path, size):
    """Of an odd number of pixels too, of which this format has none."""
    path = str(tmp_path / "a.mp4")
    random = np.random.default_rng(0).integers(0, 256, (4, 1, 1, 3), "uint8")
    with video.VideoWriter(path, 3) as writer:
        for color in random:
            writer.write(np.broadcast_to(color, (*size, 3)))
    with video.VideoReader(path) as reader:
        assert reader.rate == 3
        frames = list(reader)
    assert len(frames) == 4
    for frame, color in zip(frames, random):
        assert frame.shape == (48, 64, 3)
        np.testing.assert_allclose(frame.mean((0, 1)), color[0, 0], atol=6)


def test_without_a_frame_there_is_no_file(tmp_path):
    path = tmp_path / "a.mp4"
    with video.VideoWriter(path, 3):
        pass
    assert not path.exists()
    path.write_text("former")
    with video.VideoWriter(path, 3):
        pass
    assert path.read_text() == "former"


def test_a_frame_of_another_size_is_resized(tmp_path):
    path = str(tmp_path / "a.mp4")
    with video.VideoWriter(path, 3) as writer:
        writer.write(np.full((48, 64, 3), 40, "uint8"))
        writer.write(np.full((24, 30, 3), 200, "uint8"))
    with video.VideoReader(path) as reader:
        first, second = reader
    assert first.shape == second.shape and abs(second.mean() - 200) < 4


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match="pip install av"):
        video.VideoReader("a.mp4")


@pytest.mark.parametrize(
    "frames, streams, tags, duration, expected",
    [
        (9, 1, {}, 4e6, None),
        (0, 1, {}, 4e6, 4.0),
        (0, 2, {}, 4e6, None),
        (0, 2, {"DURATION": "01:02:03.500000000"}, 4e6, 3723.5),
        (0, 1, {"DURATION": "soon"}, None, None),
    ],
)
def test_how_long_a_video_says_it_is(frames, streams, tags, duration, expected):
    stream = types.SimpleNamespace(frames=frames, metadata=tags)
    container = types.SimpleNamespace(streams=[0] * streams, duration=duration)
    assert video._seconds(container, stream) == expected
