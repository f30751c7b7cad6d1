"""What a detector has found in pictures, as COCO's JSON and as CSV."""

import csv
import io
import json

from keras_epsanet.data.coco.class_names import COCO_IDS
from keras_epsanet.detection.ap_table import is_coco
from keras_epsanet.detection.mask_head import run_lengths

COLUMNS = ("file", "frame", "class", "score", "x1", "y1", "x2", "y2")


class Findings:
    """The objects of pictures, which are given one after the other.

    The categories are numbered from 1 on, those of COCO's 80 classes as COCO
    numbers them.

    Args:
        class_names: Strings, the name of every class.

    Example:

    >>> import numpy as np
    >>> findings = Findings(["hat", "bag"])
    >>> findings.add("a.jpg", (30, 40), {
    ...     "boxes": np.array([[2.0, 4.0, 12.0, 10.0]]),
    ...     "labels": np.array([1]),
    ...     "scores": np.array([0.75]),
    ... })
    >>> print(findings.to_csv(), end="")
    file,class,score,x1,y1,x2,y2
    a.jpg,bag,0.75,2.0,4.0,12.0,10.0
    """

    def __init__(self, class_names):
        self._class_names = list(class_names)
        known = is_coco(self._class_names)
        numbers = COCO_IDS if known else range(1, len(self._class_names) + 1)
        self._category_ids = list(numbers)
        self._images, self._objects = [], []

    def __len__(self):
        """Number of objects."""
        return len(self._objects)

    @property
    def num_images(self):
        """Number of pictures, with objects or without."""
        return len(self._images)

    def add(self, file, sides, found, frame=None):
        """Adds what was found in one picture.

        Args:
            file: String, name of the picture.
            sides: Pair of integers, its height and width in pixels.
            found: Dictionary that `Detector.detect` returned.
            frame: Integer, of a video the number of the picture in `file`;
                `None` for no video.

        Raises:
            ImportError: If there are masks, and no pycocotools.
        """
        number = len(self._images) + 1
        height, width = map(int, sides)
        self._images.append(
            {"id": number, "file_name": file, "width": width, "height": height}
        )
        if frame is not None:
            self._images[-1]["frame"] = int(frame)
        runs = run_lengths(found["masks"]) if "masks" in found else None
        for i, (label, score, box) in enumerate(
            zip(found["labels"], found["scores"], found["boxes"])
        ):
            x1, y1, x2, y2 = map(float, box)
            entry = {
                "id": len(self._objects) + 1,
                "image_id": number,
                "category_id": self._category_ids[int(label)],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                "score": float(score),
            }
            if runs:
                entry["segmentation"] = runs[i]
                entry["area"] = float(found["masks"][i].sum())
            self._objects.append(entry)

    def counts(self):
        """Numbers of objects, a dictionary by class, the most first."""
        counts = {}
        for entry in self._objects:
            name = self._name(entry)
            counts[name] = counts.get(name, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def to_json(self):
        """Returns text in COCO's form: a data set with `score`.

        Its `annotations` are what pycocotools' `loadRes` takes, too.
        """
        contents = {
            "images": self._images,
            "categories": [
                {"id": number, "name": name}
                for number, name in zip(self._category_ids, self._class_names)
            ],
            "annotations": self._objects,
        }
        return json.dumps(contents, indent=1) + "\n"

    def to_csv(self):
        """Returns a table as text, a line for each object, in pixels.

        It has a column for frames if there is a video, which is empty for
        pictures that are none of its frames.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        has_frames = any("frame" in image for image in self._images)
        skipped = () if has_frames else ("frame",)
        writer.writerow([x for x in COLUMNS if x not in skipped])
        for entry in self._objects:
            x, y, width, height = entry["bbox"]
            image = self._images[entry["image_id"] - 1]
            frame = (image.get("frame", ""),) if has_frames else ()
            writer.writerow(
                (
                    image["file_name"],
                    *frame,
                    self._name(entry),
                    entry["score"],
                    *(x, y, x + width, y + height),
                )
            )
        return text.getvalue()

    def _name(self, entry):
        place = self._category_ids.index(entry["category_id"])
        return self._class_names[place]
