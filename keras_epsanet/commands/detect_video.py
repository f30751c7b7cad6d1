"""The frames of videos, for the command `detect`."""

import contextlib
import os
import sys

from keras_epsanet import detection, storage
from keras_epsanet.atomic import whole
from keras_epsanet.commands.reporting import progress_bar
from keras_epsanet.data.file_names import printable
from keras_epsanet.data.video import (
    BrokenVideo,
    VideoReader,
    VideoWriter,
    is_video,
)
from keras_epsanet.detection.drawn_pixels import draw_pixels


def picture_ending(path, frames):
    """The ending of what is drawn of a file; none is a folder of pictures.

    Args:
        path: Path of an image or a video.
        frames: Whether each frame of a video is drawn into a picture.

    Example:

    >>> picture_ending("a.avi", False), picture_ending("a.jpg", False)
    ('.mp4', '.png')
    """
    if not is_video(path):
        return ".png"
    return "" if frames else ".mp4"


def run_videos(args, detector, videos, pictures, findings, program):
    """Detects in the frames of videos, and draws them.

    Args:
        args: What `detect.parse` returned.
        detector: A detector of this package.
        videos: List of paths.
        pictures: Dictionary from the paths to names, with `picture_ending`.
        findings: `Findings`, to which what is found is added.
        program: Name of the command in messages.

    Returns:
        List of the paths that could not be read to their ends. Each is
        named, and what could be read of it is drawn.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when the frames until there are saved.
    """
    broken = []
    for path in videos:
        target = os.path.join(args.output, pictures[path])
        try:
            with VideoReader(path) as reader:
                problem = _run_video(
                    args, detector, path, reader, target, findings
                )
            if problem is not None:
                raise problem
        except BrokenVideo as error:
            print(f"{program}: {error}", file=sys.stderr)
            broken.append(path)
    return broken


def _run_video(args, detector, path, reader, target, findings):
    """Returns what ended the video before its time, or `None`."""
    storage.makedirs(os.path.dirname(target), exist_ok=True)
    open_target = _pictures if args.frames else _video
    done, problem = 0, None
    print(printable(path), flush=True)
    bar = progress_bar(reader.number, "frame")
    with open_target(target, reader.rate) as draw:
        try:
            for image in reader:
                found = detector.detect(image, min_score=args.min_score)
                draw(done, image, found, detector.class_names)
                if args.json is None:
                    found.pop("masks", None)
                sides = image.shape[:2]
                findings.add(printable(path), sides, found, frame=done)
                done += 1
                bar.update(done, finalize=False)
        except (BrokenVideo, KeyboardInterrupt) as error:
            if not done:
                raise
            problem = error
    bar.update(done, finalize=True)
    print(f"Saved {done} frames in {target}", flush=True)
    return problem


@contextlib.contextmanager
def _pictures(folder, rate):
    """Yields a function that draws a frame into a picture of its own."""
    storage.makedirs(folder, exist_ok=True)

    def draw(number, image, found, class_names):
        detection.draw(
            image,
            found["boxes"],
            found["labels"],
            found["scores"],
            class_names,
            masks=found.get("masks"),
            path=os.path.join(folder, f"{number:06}.png"),
        )

    yield draw


@contextlib.contextmanager
def _video(path, rate):
    """Yields a function that draws a frame into the video."""
    with whole(path) as temporary, VideoWriter(temporary, rate) as writer:

        def draw(number, image, found, class_names):
            writer.write(draw_pixels(image, found, class_names))

        yield draw
