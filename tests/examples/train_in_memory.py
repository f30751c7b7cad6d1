"""Trains with data and run folder in TensorFlow's memory, for the tests.

    python train_in_memory.py WORD FOLDER

WORD is train, train-imagenet or train-coco. The training is interrupted and
goes on there; another one has its run folder, and is left alone, in FOLDER,
where the weights of the former are copied to.
"""

import os
import pathlib
import runpy
import signal
import sys

import numpy as np
import tensorflow as tf

from keras_epsanet import data, storage, training
from keras_epsanet.classification.imagenet import smoke
from keras_epsanet.commands import train, train_imagenet
from keras_epsanet.data.imagenet import tfrecords

TINY = "--model tiny --image-size 32 --epochs 2 --deterministic "
COCO = "--epochs 2 --batch-size 4 --image-size 64 --longer-side 64 "
COCO += (
    "--warm-up-steps 1 --deterministic --num-samples 16 --detector retinanet "
)
RAM = "ram://train_in_memory"


def copy_tree(source, target):
    """Copies a folder of this machine into the memory."""
    for folder, _, names in os.walk(source):
        below = os.path.relpath(folder, source)
        place = target if below == "." else f"{target}/{below}"
        tf.io.gfile.makedirs(place)
        for name in names:
            tf.io.gfile.copy(os.path.join(folder, name), f"{place}/{name}")


def prepare_train(folder):
    smoke.write_images(f"{folder}/images", 30, 20)
    copy_tree(f"{folder}/images", f"{RAM}/images")
    return "images", f"{TINY} --batch-size 8 --checkpoint-steps 2", train.main


def prepare_imagenet(folder):
    smoke.write_images(f"{folder}/images", 30, 20)
    copy_tree(f"{folder}/images", f"{RAM}/images")
    for place in (folder, RAM):
        arguments = f"{place}/images", f"{place}/records", 3, 2
        tfrecords.convert(*arguments, workers=1)
    options = f"{TINY} --decay-epochs 1 --batch-size 8 --checkpoint-steps 2"
    return "records", options, train_imagenet.main


def prepare_coco(folder):
    data.scenes.write(f"{folder}/images", 13, 6, 64)
    for split in ("train", "val"):
        os.rename(f"{folder}/images/{split}", f"{folder}/images/{split}2017")
        name = f"{folder}/images/annotations/instances_{split}"
        os.rename(f"{name}.json", f"{name}2017.json")
    copy_tree(f"{folder}/images", f"{RAM}/images")
    script = str(pathlib.Path(__file__).with_name("tiny_train_coco.py"))

    def main(arguments):
        sys.argv = [script, "0", *arguments]
        runpy.run_path(script, run_name="__main__")

    return "images", f"{COCO} --checkpoint-steps 1", main


def end_after(step):
    """Sends this process a SIGTERM, once, after a step."""
    end_step = training.Checkpointing.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        if self.state.step + 1 == step:
            training.Checkpointing.on_train_batch_end = end_step
            os.kill(os.getpid(), signal.SIGTERM)
        end_step(self, batch, logs)

    training.Checkpointing.on_train_batch_end = on_train_batch_end


def weights_of(path):
    import h5py

    arrays = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = np.array(item)

    with storage.local_file(path) as file, h5py.File(file) as content:
        content.visititems(note)
    return arrays


def main():
    word, folder = sys.argv[1:]
    prepare = {
        "train": prepare_train,
        "train-imagenet": prepare_imagenet,
        "train-coco": prepare_coco,
    }[word]
    name, options, command = prepare(folder)
    alone, run = f"{folder}/run", f"{RAM}/run"
    end_after(3)
    arguments = ["--data", f"{RAM}/{name}", "--output", run, *options.split()]
    try:
        command(arguments)
    except SystemExit as error:
        print("\nended with", error.code)
    print("\ncheckpoints", *storage.listdir(f"{run}/checkpoints"))
    command(arguments)
    arguments[1:4:2] = f"{folder}/{name}", alone
    command(arguments)
    for path in (run, alone):
        print("\nleft", *sorted(storage.listdir(path)))
        with storage.open_file(f"{path}/log.csv") as file:
            print("log", *(x.split(",")[0] for x in file))
    if word == "train":
        ours, theirs = (
            {"model": tf.concat([tf.reshape(w, -1) for w in x], 0).numpy()}
            for x in (model_weights(run), model_weights(alone))
        )
    else:
        ours, theirs = (
            weights_of(f"{x}/last.weights.h5") for x in (run, alone)
        )
    assert ours.keys() == theirs.keys() and ours
    # The second detector of a process is rounded in another way.
    allowed = 1e-6 if word == "train-coco" else 0
    for key, array in theirs.items():
        np.testing.assert_allclose(ours[key], array, 0, allowed, err_msg=key)
    print("equal")


def model_weights(path):
    import keras

    model = keras.saving.load_model(f"{path}/model.keras", compile=False)
    return model.get_weights()


if __name__ == "__main__":
    main()
