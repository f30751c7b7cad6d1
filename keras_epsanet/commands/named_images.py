"""The images that a command line names, and what is left out of them."""

import collections
import sys

from keras_epsanet.data.file_names import printable
from keras_epsanet.data.image_files import list_files
from keras_epsanet.data.video import is_video


def find_images(program, paths, videos=False):
    """Lists the images that are named, and says what is left out of folders.

    Args:
        program: Name of the command in messages.
        paths: List of strings, files and folders.
        videos: Whether the command reads videos, if they are named.

    Returns:
        List of strings, as of `list_files`.

    Raises:
        SystemExit: With a message, before any work, if there is no image.
    """
    left_out = collections.Counter()
    files = list_files(paths, left_out)
    if left_out:
        print(f"{program}: {describe(left_out, videos)}", file=sys.stderr)
    if not files:
        where = ", ".join(map(printable, paths))
        sys.exit(f"{program}: no images in {where}")
    return files


def describe(left_out, videos=False):
    """Says what is left out of folders.

    Args:
        left_out: `collections.Counter` of the endings of files.
        videos: Whether the command reads videos, if they are named.

    Returns:
        String.

    Example:

    >>> describe(collections.Counter({".tiff": 1, ".heic": 3}))
    '4 files left out: .heic, .tiff are not read'
    """
    number = left_out.total()
    endings = [printable(x) or "files without an ending" for x in left_out]
    verb = "is" if number == 1 and "" not in left_out else "are"
    text = f"{number} file{'s' * (number > 1)} left out: "
    text += f"{', '.join(sorted(endings))} {verb} not read"
    if videos and any(map(is_video, left_out)):
        text += " from folders; videos are read if named"
    return text
