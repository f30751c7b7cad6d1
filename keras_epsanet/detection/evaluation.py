"""The average precisions of COCO, as pycocotools computes them."""

import json

import keras
import numpy as np

from keras_epsanet.atomic import write_file
from keras_epsanet.detection.ap_table import format_table
from keras_epsanet.detection.coco_report import CocoReport, metric_names
from keras_epsanet.detection.detector import Detector
from keras_epsanet.detection.mask_head import encode_masks
from keras_epsanet.distribution import predict
from keras_epsanet.distribution.replicas import worker
from keras_epsanet.distribution.workers import from_chief, gather_objects


def evaluate_coco(annotations, results, iou_types=("bbox",)):
    """Evaluates results by COCO's rules, on all images of the annotations.

    Args:
        annotations: Path of the JSON file or its contents, a dictionary.
        results: List of dictionaries in COCO's form: `image_id`,
            `category_id`, `score` and `bbox`, `[x, y, width, height]`, or
            `segmentation`, a mask as run lengths.
        iou_types: `"bbox"` and `"segm"` or one of them.

    Returns:
        Dictionary of `"AP"`, `"AP50"`, `"AP75"`, `"APS"`, `"APM"` and
        `"APL"`, floats from 0 to 1, -1 where there is no object; of masks
        with the prefix `"mask_"`.

    Raises:
        ImportError: If pycocotools is not installed.
        ValueError: If a result belongs to an image that is not there,
            `iou_types` are unknown, or masks are to be compared and there
            are none.

    Example:

    >>> truth = {
    ...     "images": [{"id": 1, "height": 50, "width": 50}],
    ...     "categories": [{"id": 7, "name": "pear"}],
    ...     "annotations": [{
    ...         "id": 1, "image_id": 1, "category_id": 7, "iscrowd": 0,
    ...         "bbox": [9, 9, 20, 20], "area": 400,
    ...     }],
    ... }
    >>> found = [
    ...     {"image_id": 1, "category_id": 7, "score": 1,
    ...      "bbox": [9, 9, 20, 18]},
    ... ]
    >>> round(evaluate_coco(truth, found)["AP"], 3)
    0.9
    """
    return CocoReport(annotations, results, iou_types).metrics


class CocoEvaluator(keras.callbacks.Callback):
    """Adds COCO's average precisions to the logs of every epoch.

    Args:
        dataset: Finite dataset of dictionaries, `keras_epsanet.data.coco.load`
            with the `bounding_box_format` of the detector.
        annotations: The `keras_epsanet.data.coco.Annotations` of it.
        bounding_box_format: Format of the boxes that the detector predicts.
        iou_types: As in `evaluate_coco`.
        path: Where the results are written in COCO's form, or `None`.
        verbose: Whether a table is printed.
        beside: Rows of the table besides the result, such as
            `paper_rows("retinanet", "epsanet50_small")`, or `None`.
        every: Integer, epochs from one evaluation to the next. The logs of
            the others have NaN.
        last: Integer, number of the epoch, from 1 on, that is evaluated in
            any case, or `None`.
        on_batch: Function without arguments that is called after each batch,
            or `None`.

    Of several workers each has other images in its dataset, such as
    `keras_epsanet.data.coco.load` with its `shard`. The first one computes
    what all of them log, writes and prints.

    The detector may be one of this package, KerasCV or KerasHub. The names
    in the logs are those of `evaluate_coco` behind `"val_"`.
    """

    def __init__(
        self,
        dataset,
        annotations,
        bounding_box_format="xyxy",
        iou_types=("bbox",),
        path=None,
        verbose=True,
        beside=None,
        every=1,
        last=None,
        on_batch=None,
    ):
        super().__init__()
        self.dataset = dataset
        self.annotations = annotations
        self.bounding_box_format = bounding_box_format
        self.iou_types = iou_types
        self.path = path
        self.verbose = verbose
        self.beside = beside
        self.every = every
        self.last = last
        self.on_batch = on_batch

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.last:
            # The columns of a log are those of its first epoch.
            metrics = dict.fromkeys(metric_names(self.iou_types), float("nan"))
        else:
            metrics = self.evaluate()
        if logs is not None:
            logs.update({f"val_{k}": v for k, v in metrics.items()})

    def evaluate(self, model=None):
        """Evaluates the model now.

        Args:
            model: The detector; `None` for the one that is being trained.

        Returns:
            Dictionary as that of `evaluate_coco`.
        """
        model = model or self.model
        results = []
        for batch in self.dataset:
            # Fewer images than devices, or a number they do not divide, too.
            found = predict(model, [_inputs(model, batch)])
            results += to_results(
                found,
                batch,
                self.annotations.category_ids,
                self.bounding_box_format,
            )
            if self.on_batch is not None:
                self.on_batch()
        strategy = getattr(model, "distribute_strategy", None)
        results = self._of_all_workers(results, strategy)
        return from_chief(lambda: self._compute(results), strategy)

    def _of_all_workers(self, results, strategy):
        """The results of all workers, in the order of the images."""
        if worker(strategy)[1] == 1:
            return results
        places = {
            x.id: place for place, x in enumerate(self.annotations.images)
        }
        parts = gather_objects(results, strategy)
        return sorted(
            (result for part in parts for result in part),
            key=lambda result: places[result["image_id"]],
        )

    def _compute(self, results):
        if self.path:
            write_file(self.path, json.dumps(results))
        metrics = evaluate_coco(self.annotations.path, results, self.iou_types)
        if self.verbose:
            print("", *format_table(metrics, self.beside), sep="\n")
        return metrics


def _inputs(model, batch):
    """What a detector predicts from; this package's know of padding."""
    if not isinstance(model, Detector):
        return batch["images"]
    return {name: batch[name] for name in ("images", "image_size")}


def to_results(predictions, batch, category_ids, bounding_box_format="xyxy"):
    """Turns predictions of a detector into results of COCO's form.

    Args:
        predictions: Dictionary of `boxes`, `labels` (or `classes`),
            `confidence`, `num_detections` and, if there are any, `masks`, as
            `predict` returns it.
        batch: Dictionary of `image_id`, `original_size` and `image_size`, as
            `keras_epsanet.data.coco.load` makes it.
        category_ids: List of the categories' ids by label.
        bounding_box_format: Format of the boxes.

    Returns:
        List of dictionaries for `evaluate_coco`, the boxes in pixels of the
        original images.
    """
    found = {k: np.asarray(v) for k, v in predictions.items()}
    labels = found["labels"] if "labels" in found else found["classes"]
    height, width = batch["images"].shape[1:3]
    boxes = keras.ops.convert_to_numpy(
        keras.utils.bounding_boxes.convert_format(
            found["boxes"].astype("float32"),
            source=bounding_box_format,
            target="xyxy",
            height=height,
            width=width,
            dtype="float32",
        )
    )
    ids, originals, sizes = (
        np.asarray(batch[name])
        for name in ("image_id", "original_size", "image_size")
    )
    results = []
    for i, number in enumerate(found["num_detections"].ravel()):
        if ids[i] < 0:  # An image that could not be read.
            continue
        limits = np.tile(originals[i][::-1], 2)
        corners = boxes[i, :number] * (limits / np.tile(sizes[i][::-1], 2))
        runs = number * [None]
        if "masks" in found:
            masks = found["masks"][i, :number]
            runs = encode_masks(masks, corners, *map(int, originals[i]))
        corners = np.clip(corners, 0, limits)
        corners[:, 2:] -= corners[:, :2]
        for box, label, score, run in zip(
            corners, labels[i], found["confidence"][i], runs
        ):
            result = {
                "image_id": int(ids[i]),
                "category_id": category_ids[int(label)],
                "bbox": [float(x) for x in box],
                "score": float(score),
            }
            if run:
                result["segmentation"] = run
            results.append(result)
    return results
