"""COCO out of TensorFlow Datasets, as a folder of COCO's own form."""

import json
import os

from keras_epsanet import storage
from keras_epsanet.atomic import whole
from keras_epsanet.data.tfds import import_tfds

# COCO's names of its parts, by those of TensorFlow Datasets.
PARTS = {"train": "train2017", "validation": "val2017"}


def write_from_tfds(folder, name="coco/2017", data_dir=None, parts=None):
    """Writes detection data of TensorFlow Datasets as a COCO folder.

        folder/annotations/instances_train2017.json, instances_val2017.json
        folder/train2017/000000000009.jpg ...
        folder/val2017/...

    The images are copied byte by byte. Boxes, areas and crowd flags come
    along; TensorFlow Datasets has no masks of COCO, and numbers its classes
    from 0 on: here they have the ids 1 to 80, not COCO's own.

    Args:
        folder: Path of a folder that does not exist yet. It appears when
            all is written.
        name: Name of the dataset.
        data_dir: Folder where TensorFlow Datasets keeps its files; `None`
            means its default. What is missing there is downloaded.
        parts: Dictionary from the parts of the dataset to their names in the
            folder; `None` for those of COCO.

    Raises:
        ImportError: If tensorflow-datasets is not installed.
        ValueError: If the folder exists, or the dataset is not one of images
            with boxes.
    """
    tfds = import_tfds()
    folder = storage.abspath(folder)
    if storage.exists(folder):
        raise ValueError(
            f"`folder` must not exist yet. Received: folder={folder}"
        )
    builder = tfds.builder(name, data_dir=data_dir)
    features = builder.info.features
    wanted = {"image", "image/filename", "image/id", "objects"}
    if not wanted <= set(features):
        raise ValueError(
            f"`name` must be a dataset with {', '.join(sorted(wanted))}. "
            f"Received: name={name} with {', '.join(features)}"
        )
    builder.download_and_prepare()
    with whole(folder) as temporary:
        os.makedirs(os.path.join(temporary, "annotations"))
        for split, part in (parts or PARTS).items():
            dataset = builder.as_dataset(
                split=split, decoders={"image": tfds.decode.SkipDecoding()}
            )
            names = features["objects"]["label"].names
            _write_part(temporary, part, dataset.as_numpy_iterator(), names)


def _write_part(folder, part, examples, class_names):
    import tensorflow as tf

    os.makedirs(os.path.join(folder, part))
    images, annotations = [], []
    for example in examples:
        encoded, number = example["image"], int(example["image/id"])
        file_name = os.path.basename(example["image/filename"].decode())
        with open(os.path.join(folder, part, file_name), "wb") as file:
            file.write(encoded)
        height, width = map(int, tf.io.extract_jpeg_shape(encoded)[:2])
        images.append(
            {
                "id": number,
                "file_name": file_name,
                "height": height,
                "width": width,
            }
        )
        objects = example["objects"]
        for i, (top, left, bottom, right) in enumerate(objects["bbox"]):
            annotations.append(
                {
                    "id": int(objects["id"][i]),
                    "image_id": number,
                    "category_id": int(objects["label"][i]) + 1,
                    "iscrowd": int(objects["is_crowd"][i]),
                    "area": float(objects["area"][i]),
                    # From shares of the image, in float32.
                    "bbox": [
                        round(float(left) * width, 2),
                        round(float(top) * height, 2),
                        round(float(right - left) * width, 2),
                        round(float(bottom - top) * height, 2),
                    ],
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": i, "name": name}
            for i, name in enumerate(class_names, start=1)
        ],
    }
    path = os.path.join(folder, "annotations", f"instances_{part}.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file)
