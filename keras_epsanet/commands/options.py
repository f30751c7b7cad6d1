"""Options that several commands have."""

from keras_epsanet.training.recipe_fields import POSITIVE_INTEGER, reader

# What `keras-epsanet train` leaves by default.
MODEL = "runs/classifier/model.keras"


def positive(name):
    """Makes the `type` of an option that is a positive integer.

    Args:
        name: String, name of the option in messages.

    Returns:
        Function of a text.

    Example:

    >>> positive("batch_size")("16")
    16
    """
    return reader(name, POSITIVE_INTEGER)


def add_training_options(
    parser, recipe, models, checkpoint_steps, default, of_smoke=None
):
    """Adds the options that all trainings have.

    Args:
        parser: `argparse.ArgumentParser`.
        recipe: Class of the recipe, each of whose fields is an option.
        models: Names of the networks that can be trained.
        checkpoint_steps: Default of `--checkpoint-steps`.
        default: String, what the options of the recipe are by default.
        of_smoke: Default of `--checkpoint-steps` with `--smoke`, where there
            is such an option. The default is `None` then.

    Returns:
        The group of the recipe's options.
    """
    parser.add_argument(
        "--checkpoint-steps",
        type=positive("checkpoint_steps"),
        default=checkpoint_steps if of_smoke is None else None,
        metavar="N",
        help="steps from one checkpoint to the next, besides those at the "
        f"end of every epoch (default: {checkpoint_steps}"
        + (")" if of_smoke is None else f", with --smoke {of_smoke})"),
    )
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="the same weights bit for bit from every run, but slower",
    )
    group = parser.add_argument_group("recipe", f"default: {default}")
    recipe.add_options(group, model=list(models))
    return group


def make_deterministic(args):
    """Makes TensorFlow compute the same bit for bit, if it was asked for.

    Args:
        args: What the parser returned.
    """
    if args.deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
