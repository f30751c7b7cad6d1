"""Trains an EPSANet on ImageNet as the paper does (section 4.1).

    python examples/train_imagenet.py --data IMAGENET --output RUN

takes all GPUs of the machine, and 120 epochs. IMAGENET is a folder with the
sub-folders `train` and `val`, a folder of TFRecord files or
`tfds[:FOLDER]`, as in `keras_epsanet.data.imagenet.open_source`. The same
command again goes on where the training was, after a crash, a kill or a
signal that ended it: `docs/imagenet.md` explains this, several machines and
the published results. Not run on ImageNet yet.

    python examples/train_imagenet.py --smoke --output RUN

runs the very same code on some embedded images, in 10 seconds on 2 cores.

In RUN it leaves `best.weights.h5` and `last.weights.h5`, weights of the
network for `weights=`, their SHA-256 in `SHA256SUMS`, the log of all epochs
in `log.csv` and for TensorBoard, `recipe.json` and the last checkpoints. It
saves and exits with 75 after a SIGTERM, with 130 after Ctrl-C.
"""

import argparse
import os
import sys
import warnings

# On processors without AVX-512 TensorFlow leaves these kernels off, although
# they train this network 2.5 times as fast there too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import keras
import tensorflow as tf

import keras_epsanet
from keras_epsanet import atomic, data, distribution, training
from keras_epsanet.data import imagenet
from keras_epsanet.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD


def tiny(**kwargs):
    """A network for smoke tests: a second instead of minutes."""
    return keras_epsanet.EPSANet((1, 1), (64, 128), (3, 5), (1, 4), **kwargs)


MODELS = {
    "epsanet50_small": keras_epsanet.EPSANet50Small,
    "epsanet50_large": keras_epsanet.EPSANet50Large,
    "epsanet101_small": keras_epsanet.EPSANet101Small,
    "epsanet101_large": keras_epsanet.EPSANet101Large,
    "tiny": tiny,
}
SMOKE = training.ImageNetRecipe(
    model="tiny", image_size=32, epochs=3, batch_size=16, decay_epochs=2
)


def main():
    args = parse_args()
    try:
        train(args)
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        sys.exit(f"train_imagenet: {error}")
    except KeyboardInterrupt:
        text = "interrupted. The same command goes on from the last checkpoint"
        print(f"\ntrain_imagenet: {text}", file=sys.stderr)
        sys.exit(130)


def train(args):
    if args.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy = training.make_strategy()
    chief = training.is_chief(strategy)
    recipe = choose_recipe(args)
    keras.utils.set_random_seed(recipe.seed)
    distribution.check_batch_size(recipe.step_batch_size, strategy)
    run = training.RunFolder(args.output, recipe, is_chief=chief)
    source = open_source(args)
    steps = source.num_train // recipe.step_batch_size
    if not steps:
        raise ValueError(
            "A batch needs more images than there are. Received: "
            f"batch_size={recipe.step_batch_size}, {source.num_train} images"
        )
    with strategy.scope():
        network, model = build_model(recipe, len(source.class_names))
        compile_model(model, recipe, steps)
        average = training.make_average(model, recipe)
        state = run.restore(model, steps, average=average)
    if args.resume and not state.step:
        raise ValueError(
            "There is no checkpoint to go on from. "
            f"Received: --output {args.output}"
        )
    if chief:
        report(recipe, strategy, source, state)
        training.trim_csv(f"{run.path}/log.csv", state.epoch)
    # Behind the strategy, which takes SIGTERM for several workers.
    interruption = training.Interruption()
    try:
        fit(args, model, average, strategy, source, run, state, interruption)
    except SystemExit:
        if chief:
            text = f"stopped after step {state.step:,} of "
            text += f"{recipe.epochs * steps:,}. The same command goes on"
            print(f"\ntrain_imagenet: {text}", file=sys.stderr)
        sys.exit(interruption.exit_code)
    finally:
        interruption.stop()
    if source.bad:
        print(f"{len(source.bad)} images are bad:", *source.bad, sep="\n")
    export(network, model, average, run, state)


def parse_args():
    parser = argparse.ArgumentParser(
        description="Trains an EPSANet on ImageNet.",
        usage="%(prog)s (--data PATH | --smoke) --output RUN [options]",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", metavar="PATH", help="ImageNet")
    source.add_argument(
        "--smoke",
        action="store_true",
        help="a few steps of a tiny network on embedded images",
    )
    parser.add_argument("--output", metavar="RUN", required=True)
    parser.add_argument(
        "--resume",
        action="store_true",
        help="fail if there is nothing to go on from, and take the recipe "
        "from there; a training that was started goes on in any case",
    )
    parser.add_argument(
        "--checkpoint-steps",
        type=int,
        metavar="N",
        help="steps from one checkpoint to the next (default: 1000)",
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same weights bit for bit from every run, but slower",
    )
    group = parser.add_argument_group(
        "recipe", "default: as in the paper, or as in --recipe"
    )
    group.add_argument("--recipe", metavar="FILE", help="a recipe.json")
    training.ImageNetRecipe.add_options(group, model=MODELS)
    args = parser.parse_args()
    if args.checkpoint_steps is None:
        args.checkpoint_steps = 3 if args.smoke else 1000
    if args.checkpoint_steps < 1:
        parser.error("--checkpoint-steps must be positive")
    return args


def choose_recipe(args):
    """The recipe of the file, the run or the paper, with the options given."""
    path = args.recipe
    if path is None and args.resume:
        path = os.path.join(args.output, "recipe.json")
    if path is not None:
        with open(path) as file:
            recipe = training.ImageNetRecipe.from_json(file.read())
    else:
        recipe = SMOKE if args.smoke else training.IMAGENET
    return recipe.with_options(args)


def open_source(args):
    if not args.smoke:
        return imagenet.open_source(args.data)
    path = os.path.join(args.output, "smoke_images")
    if not os.path.isdir(path):
        write_smoke_images(path)
    return imagenet.open_source(path)


def write_smoke_images(path, train=96, val=40):
    """Writes embedded images as an ImageNet of ten classes."""
    try:
        with atomic.whole(path) as temporary:
            write_images(temporary, train, val)
    except OSError:
        # Another worker may have been sooner.
        if not os.path.isdir(path):
            raise


def write_images(path, train, val):
    for folder, split, count in zip(
        ("train", "val"), ("train", "test"), (train, val)
    ):
        images = data.fashion_mnist(split)
        names = [name.replace("/", " ") for name in images.class_names]
        for i, (image, label) in enumerate(images.take(count)):
            class_folder = os.path.join(path, folder, names[label])
            os.makedirs(class_folder, exist_ok=True)
            jpeg = tf.io.encode_jpeg(tf.image.grayscale_to_rgb(image))
            tf.io.write_file(os.path.join(class_folder, f"{i}.JPEG"), jpeg)


def build_model(recipe, classes):
    """Returns the network and a model of it that takes images of bytes."""
    size = recipe.image_size
    network = MODELS[recipe.model](
        input_shape=(size, size, 3),
        classes=classes,
        classifier_activation=None,
        synchronized=training.synchronized(recipe),
        dtype=recipe.precision,
    )
    image = keras.Input((size, size, 3), name="image")
    x = keras.layers.Rescaling(
        scale=[1 / (255 * std) for std in IMAGENET_STD],
        offset=[-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)],
    )(image)
    # Loss and metrics are computed in float32 whatever the network is in.
    logits = keras.layers.Activation("linear", dtype="float32")(network(x))
    return network, keras.Model(image, logits, name=recipe.model)


def compile_model(model, recipe, steps_per_epoch):
    model.compile(
        optimizer=training.make_optimizer(recipe, steps_per_epoch),
        loss=training.make_loss(recipe),
        # Weighted, for the last batch of an evaluation may be padded.
        weighted_metrics=[
            keras.metrics.CategoricalAccuracy(name="top1"),
            keras.metrics.TopKCategoricalAccuracy(k=5, name="top5"),
        ],
    )


def report(recipe, strategy, source, state):
    print(
        f"{recipe.model} on {training.num_replicas(strategy)} device(s): "
        f"{len(source.class_names)} classes, {source.num_train:,} images to "
        f"train, {source.num_val:,} to evaluate"
    )
    if state.step:
        print(
            f"Going on after step {state.step:,} of "
            f"{recipe.epochs * state.steps_per_epoch:,}, in epoch "
            f"{state.epoch + 1} of {recipe.epochs}",
            flush=True,
        )


def fit(args, model, average, strategy, source, run, state, interruption):
    """Trains from the step of `state` to the last epoch of the recipe."""
    recipe, steps = run.recipe, state.steps_per_epoch
    evaluation = distribution.divide_batches(
        lambda shard: imagenet.evaluation_batches(
            source,
            recipe.step_batch_size,
            image_size=recipe.image_size,
            shard=shard,
        ),
        strategy,
    )
    # Keras says so after batches whose number it is not told.
    warnings.filterwarnings("ignore", "Your input ran out of data")
    # Twice at most: what is left of an interrupted epoch, then the others.
    while state.epoch < recipe.epochs:
        epoch, done = divmod(state.step, steps)
        batches, waited = make_batches(strategy, source, recipe, state.step)
        callbacks = [
            *([average] if average else []),
            training.EpochLog(
                training.make_schedule(recipe, steps),
                recipe.step_batch_size,
                waited,
            ),
            *make_logs(run),
            training.Checkpointing(
                run,
                state,
                args.checkpoint_steps,
                interruption,
                training.any_worker(strategy),
                average=average,
            ),
        ]
        model.fit(
            batches,
            initial_epoch=epoch,
            epochs=epoch + 1 if done else recipe.epochs,
            steps_per_epoch=steps - done,
            validation_data=evaluation,
            callbacks=callbacks,
            verbose="auto" if run.is_chief else 0,
            shuffle=False,  # The batches are shuffled already.
        )


def make_batches(strategy, source, recipe, first_step):
    """Training batches, and a function for the seconds waited for them."""

    def make(shard=(0, 1)):
        return training.timed_input(
            imagenet.training_batches(
                source,
                recipe.step_batch_size,
                image_size=recipe.image_size,
                seed=recipe.seed,
                first_step=first_step,
                augmentations=recipe.augmentations,
                shard=shard,
                antialias=recipe.antialias,
            )
        )

    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return make()
    clocks = []

    def make_part(context):
        batches, waited = make(
            (context.input_pipeline_id, context.num_input_pipelines)
        )
        clocks.append(waited)
        return batches.rebatch(
            context.get_per_replica_batch_size(recipe.step_batch_size)
        )

    return strategy.distribute_datasets_from_function(make_part), clocks[0]


def make_logs(run):
    """Callbacks that write the logs, in one of several workers only."""
    if not run.is_chief:
        return []
    return [
        keras.callbacks.CSVLogger(f"{run.path}/log.csv", append=True),
        training.ScalarEvents(f"{run.path}/tensorboard"),
    ]


def export(network, model, average, run, state):
    """Saves the network as it is in the end and after its best epoch."""
    sums = {}
    if average:
        average.swap_in()
    sums["last.weights.h5"] = run.export(network, "last.weights.h5")
    if state.best_step is not None:
        run.restore(
            model, state.steps_per_epoch, state.best_step, average=average
        )
        if average:
            average.swap_in()
        sums["best.weights.h5"] = run.export(network, "best.weights.h5")
    if run.is_chief:
        lines = [f"{digits}  {name}\n" for name, digits in sums.items()]
        print(f"Saved in {run.path}:\n{''.join(lines)}", end="")
        if state.best_step is not None:
            epoch = state.best_step // state.steps_per_epoch
            print(f"Best: epoch {epoch}, top-1 {state.best_value:.2%}")


if __name__ == "__main__":
    main()
