"""Times the reading of ImageNet's training images, by shares and by a ratio.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --images 512 --repeats 9
    python benchmarks/input_pipeline.py --coco

JPEG files of 400×350 pixels and about 110 kB, the mean of ImageNet's, are
made in a temporary folder, from where `imagenet.training_batches` reads them
(from memory: the disk is not measured). The ratio is against a dataset that
reads the same files and does nothing but `tf.image.decode_and_crop_jpeg` of
the same parts. All take turns; the ratio is the median of those of
neighboring runs. The stages are datasets with one stage more each.

Measured with TensorFlow 2.21 on 2 cores of an AMD EPYC processor with AVX2, of
the speed of decoding only: 0.53 (quartiles 0.53-0.59), without antialiasing
0.64 (0.58-0.64). Before crops were resized along rows and 32 images were read
together it was 0.34 (0.32-0.41) and 0.58 (0.52-0.63).

With `--coco` detection data are read instead: images of 640×480 pixels with
seven objects, whose outlines are polygons, resized to 800×1067. The ratio is
the time with masks to the time without them, and each has a process of its
own for its largest resident memory. docs/detection.md has the result.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from keras_epsanet.data import coco, imagenet
from keras_epsanet.data.imagenet import crops
from keras_epsanet.data.imagenet.file_split import Slots
from keras_epsanet.data.keys import CROP, random_key

HEIGHT, WIDTH = 350, 400
BYTES = 110_000
CLASSES = ("even", "odd")
# The mean of COCO's training images.
COCO_SIZE, COCO_OBJECTS, COCO_NOISE = (480, 640), 7, 20.0


def make_image(random, noise, size=(HEIGHT, WIDTH)):
    """A photograph's mixture of smooth areas, edges and fine texture."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    phase = random.uniform(0, 6, (3, 1, 1))
    image = 128 + 70 * np.sin(x / 40 + phase) * np.cos(y / 30 - phase)
    spots = random.normal(0, 1, (3, height // 5 + 1, width // 5 + 1))
    image += 25 * spots.repeat(5, 1).repeat(5, 2)[:, :height, :width]
    image += random.normal(0, noise, (1, height, width))
    image = np.clip(image, 0, 255).astype("uint8").transpose(1, 2, 0)
    return tf.io.encode_jpeg(image, quality=90).numpy()


def make_tree(folder, images):
    """Writes JPEG files and returns their mean size in bytes."""
    random = np.random.default_rng(0)
    low, high = 0.0, 100.0
    while high - low > 0.5:
        noise = (low + high) / 2
        if len(make_image(random, noise)) < BYTES:
            low = noise
        else:
            high = noise
    size = 0
    for split, count in (("train", images), ("val", len(CLASSES))):
        for name in CLASSES:
            os.makedirs(f"{folder}/{split}/{name}")
        for i in range(count):
            contents = make_image(random, noise)
            size += len(contents) if split == "train" else 0
            path = f"{folder}/{split}/{CLASSES[i % len(CLASSES)]}/{i}.jpg"
            with open(path, "wb") as file:
                file.write(contents)
    return size / images


def stages(source, batch_size, image_size, seed=0):
    """Datasets with more and more stages up to all, then the other choice."""
    slots = Slots(batch_size, source.num_train, 0, 10**6, (0, 1))
    # The same images in the same order with the same parts of them.
    chosen = source.train.chunks(slots, seed).unbatch().take(source.num_train)
    rows = []
    for _, index, (file, _) in chosen:
        uniforms = tf.random.stateless_uniform(
            (crops.NUM_UNIFORMS,), random_key(seed, CROP, index)
        )
        box = crops.random_box((HEIGHT, WIDTH), uniforms)
        rows.append((file.numpy(), uniforms.numpy(), box.numpy()))
    files, uniforms, boxes = (np.array(column) for column in zip(*rows))

    def decode(encoded, uniforms, box):
        return tf.image.decode_and_crop_jpeg(
            encoded, box, channels=3, dct_method="INTEGER_ACCURATE"
        )[0, 0, 0]

    def choose(encoded, uniforms, box):
        shape = tf.io.extract_jpeg_shape(encoded)
        return decode(encoded, None, crops.random_box(shape[:2], uniforms))

    def resize(encoded, uniforms, box):
        uniforms = tf.concat((uniforms[:-1], (1.0,)), 0)
        return crops.random_crop(encoded, uniforms, image_size)[0, 0, 0]

    def flip(encoded, uniforms, box):
        return crops.random_crop(encoded, uniforms, image_size)[0, 0, 0]

    def batch(encoded, uniforms, box):
        return crops.random_crop(encoded, uniforms, image_size)

    named = {
        "reading": lambda encoded, uniforms, box: tf.strings.length(encoded),
        "decoding of the part": decode,
        "choice of the part": choose,
        "resizing": resize,
        "flip": flip,
        "batching": batch,
    }
    rows = tf.data.Dataset.from_tensor_slices((files, uniforms, boxes))
    datasets = {}
    for name, function in named.items():

        def load(file, uniforms, box, function=function):
            return function(tf.io.read_file(file), uniforms, box)

        datasets[name] = (
            rows.repeat()
            .map(load, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
            .prefetch(tf.data.AUTOTUNE)
        )
    datasets["order, random numbers, guard against bad files, labels"] = (
        imagenet.training_batches(source, batch_size, image_size, seed)
    )
    datasets["without antialiasing"] = imagenet.training_batches(
        source, batch_size, image_size, seed, antialias=False
    )
    return datasets


def measure(datasets, batches, repeats):
    """Seconds for some batches of each dataset, `(repeats, datasets)`."""
    seconds = np.zeros((repeats, len(datasets)))
    for i in range(-1, repeats):
        # Every other time backwards, so that none always comes first.
        order = list(enumerate(datasets))[:: 1 if i % 2 else -1]
        for j, dataset in order:
            start = time.perf_counter()
            for _ in dataset.take(batches):
                pass
            # The first is for warming up, and written over.
            seconds[i, j] = time.perf_counter() - start
    return seconds


def make_coco(folder, images):
    """Writes images and annotations, and returns the path of the latter."""
    random = np.random.default_rng(0)
    height, width = COCO_SIZE
    annotations = []
    for i in range(images):
        with open(f"{folder}/{i}.jpg", "wb") as file:
            file.write(make_image(random, COCO_NOISE, COCO_SIZE))
        for _ in range(COCO_OBJECTS):
            radius = np.exp(random.uniform(2, 5))
            angles = np.linspace(0, 2 * np.pi, 30, endpoint=False)
            radii = radius * random.uniform(0.6, 1, (30, 1))
            points = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
            points = points * radii + random.uniform(0, (width, height))
            points = np.clip(points, 0, (width, height)).round(2)
            corner, sides = points.min(0), np.ptp(points, 0)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": float(sides.prod()),
                    "bbox": [*corner.tolist(), *sides.tolist()],
                    "segmentation": [points.ravel().tolist()],
                }
            )
    contents = {
        "images": [
            {"id": i, "file_name": f"{i}.jpg", "height": height, "width": width}
            for i in range(images)
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "thing"}],
    }
    with open(f"{folder}/annotations.json", "w", encoding="utf-8") as file:
        json.dump(contents, file)
    return f"{folder}/annotations.json"


def load_coco(folder, batch_size, masks):
    annotations = coco.Annotations(f"{folder}/annotations.json", folder)
    return coco.load(annotations, batch_size, training=True, masks=masks)


def measure_coco(folder, args):
    """Seconds without and with masks, and the memory of each in bytes."""
    datasets = [load_coco(folder, args.batch_size, x) for x in (False, True)]
    seconds = measure(datasets, args.batches, args.repeats)
    memory = []
    for masks in ("without", "with"):
        command = [sys.executable, __file__, "--batches", str(args.batches)]
        command += ["--batch-size", str(args.batch_size)]
        command += ["--memory-of", folder, masks]
        run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        memory.append(int(run.stdout))
    return seconds, memory


def main_coco(args):
    with tempfile.TemporaryDirectory() as folder:
        make_coco(folder, args.images)
        seconds, memory = measure_coco(folder, args)
    images = args.batch_size * args.batches
    speeds = np.median(images / seconds, axis=0)
    ratios = np.percentile(seconds[:, 1] / seconds[:, 0], (25, 50, 75))
    print(
        f"{args.images} images of {COCO_SIZE[1]}×{COCO_SIZE[0]} pixels, "
        f"batch {args.batch_size}, {len(os.sched_getaffinity(0))} cores"
    )
    for name, speed, peak in zip(("without", "with"), speeds, memory):
        print(f"{name:8} masks {speed:6.1f} images/s  {peak / 1e9:.2f} GB")
    print(
        f"time with / without: median {ratios[1]:.2f}  "
        f"quartiles {ratios[0]:.2f}–{ratios[2]:.2f}"
    )


def print_memory(folder, masks, args):
    """Prints the largest resident memory of reading, in bytes."""
    dataset = load_coco(folder, args.batch_size, masks == "with")
    for _ in dataset.take(args.batches):
        pass
    # What `getrusage` says is that of the process which started this one.
    with open("/proc/self/status", encoding="ascii") as file:
        (line,) = (x for x in file if x.startswith("VmHWM:"))
    print(1024 * int(line.split()[1]))


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256, help="files")
    parser.add_argument("--batches", type=int, default=24, help="in a run")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--coco", action="store_true", help="detection data")
    parser.add_argument("--memory-of", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse_args()
    if args.memory_of:
        print_memory(*args.memory_of, args)
        return
    if args.coco:
        main_coco(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        size = make_tree(folder, args.images)
        source = imagenet.open_source(folder)
        datasets = stages(source, args.batch_size, args.image_size)
        seconds = measure(datasets.values(), args.batches, args.repeats)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{args.images} files of {WIDTH}×{HEIGHT} pixels and "
        f"{size / 1000:.0f} kB, batch {args.batch_size}, {cores} cores"
    )
    images = args.batch_size * args.batches
    speeds = np.median(images / seconds, axis=0)
    named = {"decoding only": 1, "all": -2, "without antialiasing": -1}
    for name, column in named.items():
        # Decoding alone takes less time, so the fraction is of speeds.
        low, median, high = np.percentile(
            seconds[:, 1] / seconds[:, column], (25, 50, 75)
        )
        print(
            f"{name:20} {speeds[column]:6.0f} images/s, "
            f"{speeds[column] / cores:.0f} per core; of decoding: median "
            f"{median:.2f}  quartiles {low:.2f}–{high:.2f}"
        )
    medians = np.median(seconds, axis=0)[:-1]
    shares = np.diff(medians, prepend=0) / medians[-1]
    for name, share in zip(datasets, shares):
        print(f"{share:6.1%}  {name}")


if __name__ == "__main__":
    main()
