"""Frames of video files, which PyAV reads and writes."""

import contextlib
import os

import numpy as np

from keras_epsanet import storage
from keras_epsanet.data.file_names import printable

ENDINGS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
# The first that the installed PyAV has.
_CODECS = ("libx264", "mpeg4")
# Parts that cannot be read, after which the rest is taken for lost.
_MOST_DAMAGED = 1000


class BrokenVideo(ValueError):
    """A file that is no video, is cut off or has damaged parts."""


def is_video(path):
    """Whether a path has the ending of a video.

    Args:
        path: Path of a file.

    Example:

    >>> is_video("holiday.MP4"), is_video("holiday.jpg")
    (True, False)
    """
    return os.fspath(path).lower().endswith(ENDINGS)


class VideoReader:
    """The frames of a video, one after the other, in a `with` statement.

    Args:
        path: Path of the file.

    Attributes:
        rate: `fractions.Fraction`, frames in a second, on average.
        number: Integer, how many frames the file says it has, or `None`.

    Raises:
        BrokenVideo: If the file cannot be opened or has no pictures.
        ImportError: If PyAV is not installed.
    """

    def __init__(self, path):
        av = import_av()
        self._name = printable(path)
        self._files = contextlib.ExitStack()
        try:
            source = path
            if storage.is_remote(path):
                source = storage.open_file(path, "rb")
                self._files.enter_context(source)
            self._container = self._files.enter_context(av.open(source))
        except (OSError, av.FFmpegError) as error:
            self._files.close()
            reason = getattr(error, "strerror", None) or error
            raise BrokenVideo(
                f"{self._name} cannot be read as a video: {reason}"
            ) from error
        if not self._container.streams.video:
            self._files.close()
            raise BrokenVideo(f"{self._name} has no pictures, as a video has")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        stream = self._stream
        self.rate = stream.average_rate or stream.guessed_rate or 25
        self._seconds = _seconds(self._container, stream)
        self.number = stream.frames or None
        if self.number is None and self._seconds is not None:
            self.number = max(1, round(self._seconds * self.rate))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._files.close()

    def __iter__(self):
        """Yields the frames, uint8 arrays `(H, W, 3)`, upright.

        Raises:
            BrokenVideo: After the last frame that can be read, if there
                should be more, or some could not be read.
        """
        av = import_av()
        done, damaged, end = 0, 0, 0.0
        packets = self._container.demux(self._stream)
        while True:
            frames = []
            try:
                packet = next(packets)
                damaged += packet.is_corrupt
                frames = packet.decode()
            except StopIteration:
                break
            except av.FFmpegError:
                damaged += 1
                if damaged > _MOST_DAMAGED:
                    break
            for frame in frames:
                done += 1
                end = end if frame.time is None else frame.time
                pixels = frame.to_ndarray(format="rgb24")
                yield upright(pixels, frame.rotation)
        start = float((self._stream.start_time or 0) * self._stream.time_base)
        ends = end - start + 1 / self.rate
        is_short = self._seconds is not None and ends < self._seconds - max(
            1, 2 / self.rate
        )
        if not done:
            raise BrokenVideo(f"{self._name} has no frame that can be read")
        if damaged or is_short:
            raise BrokenVideo(
                f"{self._name} is cut off or damaged: {done} of "
                f"{self.number or 'its'} frames could be read"
            )


def _seconds(container, stream):
    """How long a video says it is, where its frames are not counted."""
    if stream.frames:
        return None
    tag = stream.metadata.get("DURATION", "")
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = map(float, tag.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    # Otherwise that of the longest stream, which may be the sound.
    if len(container.streams) > 1 or not container.duration:
        return None
    return container.duration / 1e6


def upright(pixels, rotation):
    """Turns a frame as the file says, which phones leave as they were held.

    Args:
        pixels: Array `(H, W, 3)`.
        rotation: Number, degrees counterclockwise.

    Returns:
        Array.

    Example:

    >>> upright(np.array([[[1], [2]]]), 90)[..., 0].tolist()
    [[2], [1]]
    """
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


class VideoWriter:
    """Writes frames into an `.mp4` file, in a `with` statement.

    The file is made for the first frame: without any there is none, and one
    that was there stays as it was.

    Args:
        path: Path of the file on this machine.
        rate: `fractions.Fraction` or integer, frames in a second.

    Raises:
        ImportError: If PyAV is not installed.
    """

    def __init__(self, path, rate):
        av = import_av()
        self._container = av.open(os.fspath(path), "w", format="mp4")
        self._codec = next(x for x in _CODECS if x in av.codecs_available)
        self._rate, self._stream = rate, None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def write(self, pixels):
        """Adds a frame.

        Args:
            pixels: Uint8 array `(H, W, 3)`. A frame of another size than the
                first is resized to it.
        """
        av = import_av()
        height, width = pixels.shape[:2]
        # The colors of this format are of two pixels by two.
        sides = ((0, height % 2), (0, width % 2), (0, 0))
        pixels = np.ascontiguousarray(np.pad(pixels, sides, "edge"))
        if self._stream is None:
            self._stream = self._container.add_stream(
                self._codec, rate=self._rate
            )
            self._stream.height, self._stream.width = pixels.shape[:2]
            self._stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        stream = self._stream
        frame = frame.reformat(stream.width, stream.height, "yuv420p")
        self._container.mux(stream.encode(frame))


def import_av():
    """Imports PyAV, or says how to install it.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError("Videos need PyAV: pip install av") from error
    # What is wrong with a file is said once, by an error.
    av.logging.set_level(av.logging.PANIC)
    return av
