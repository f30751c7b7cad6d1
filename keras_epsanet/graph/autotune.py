"""Chooses how a model's convolutions are computed by measurement."""

import dataclasses
import os

import keras

from keras_epsanet.graph import form_file, layout_timing
from keras_epsanet.ops import form_timing, forms
from keras_epsanet.ops.layouts import Pyramid
from keras_epsanet.ops.processor import gpu_name


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What was chosen; as a string, a table.

    Attributes:
        machine: String, what it holds for: processor, threads, versions.
        forms: Dictionary of a triple for each convolution, in words: the
            `Forms`, that is the rows and columns of the tiles, and the
            ratios of the times to those of the default form, forward and in
            a training step.
        layouts: Dictionary of a triple for each pyramid, in words: the
            layout, and the ratios to the times in the layout of the inputs.
    """

    machine: str
    forms: dict
    layouts: dict = dataclasses.field(default_factory=dict)

    def __str__(self):
        rows = {**self.forms, **self.layouts}
        lines = [_line(name, *row) for name, row in rows.items()]
        return "\n".join([self.machine, *lines])


def _line(name, chosen, forward, step):
    if not isinstance(chosen, str):
        outputs, gradient = ["×".join(map(str, tile)) for tile in chosen]
        chosen = f"tiles {outputs}, kernel's gradient {gradient}"
    return (
        f"{name}: {chosen}; {forward:.2f} of the time forward, "
        f"{step:.2f} in training"
    )


def autotune(
    model, input_shape=None, batch_size=16, seconds=1.0, file=None, verbose=1
):
    """Times how this machine computes grouped convolutions fastest.

    The default forms are those that were the fastest on a processor with
    AVX2 and on one with AVX-512. This measures the others for every distinct
    grouped convolution of a model, and takes the fastest from now on, in
    this process, for all models. The results of a model stay the same up to
    rounding, and so do its saved files; an export holds the forms that are
    taken when it is written.

    What was measured is kept in a file, by processor, versions and shapes. A
    second call only reads it, also in another process, and takes the same
    forms: give a `file` of your own to have them wherever that file is.

    On a GPU the framework itself chooses the form. There the two layouts are
    timed for every distinct `PSA` or `SPC` with `layout="auto"`, which takes
    the faster one from now on.

    Args:
        model: `keras.Model` with one input, functional or not.
        input_shape: Tuple `(H, W, C)`, or `(C, H, W)` as the model takes it:
            the size in pixels for which the forms are chosen. `None` takes
            that of the model.
        batch_size: Positive integer, number of images in a batch.
        seconds: Positive float, the most time for one convolution, without
            what it takes to compile its forms; for one pyramid on a GPU.
        file: Path of the file, which need not exist; `None` is `forms.json`
            in Keras' cache.
        verbose: 1 prints each convolution once it is measured, 0 nothing.

    Returns:
        `Tuning`, which prints as a table.

    Raises:
        ValueError: If the sizes are not known, the model cannot take them or
            is none, or `file` is another one.

    Example:

    >>> from keras_epsanet.layers import GroupedConv2D
    >>> inputs = keras.Input((12, 12, 8))
    >>> x = GroupedConv2D(4, 5, groups=4)(inputs)
    >>> model = keras.Model(inputs, x)
    >>> tuning = autotune(
    ...     model, batch_size=1, seconds=0.1, file="forms.json", verbose=0
    ... )
    >>> again = autotune(model, batch_size=1, file="forms.json")
    >>> again == tuning
    True
    """
    _check_positive(batch_size=batch_size, seconds=seconds)
    if not isinstance(model, keras.Model):
        raise ValueError(
            "`model` must be a model; `keras.saving.load_model` reads one "
            f"from a file. Received: model={model}"
        )
    path = os.fspath(file) if file else form_file.default_path()
    known = form_file.read(path)
    image_shape = _image_shape(model, input_shape)
    asked = _convolutions_of(model, (batch_size, *image_shape))
    on_gpu = gpu_name() is not None
    jit = on_gpu and bool(model.jit_compile)
    tuning = {}
    chosen = {}
    for problem, before in asked.items():
        if isinstance(problem, Pyramid) != on_gpu:
            continue
        name = form_file.describe(problem, batch_size, jit)
        if name not in known:
            if on_gpu:
                known[name] = layout_timing.fastest_layout(
                    problem, batch_size, seconds, jit
                )
            else:
                known[name] = form_timing.fastest(
                    problem, before, batch_size, seconds
                )
            form_file.write(path, {name: known[name]})
            if verbose:
                print(_line(name, *known[name]), flush=True)
        tuning[name] = known[name]
        chosen[problem] = known[name][0]
    forms.choose(chosen)
    # What was compiled before has other forms.
    model.train_function = model.test_function = None
    model.predict_function = None
    results = ({}, tuning) if on_gpu else (tuning, {})
    return Tuning(form_file.machine(), *results)


class _Call(keras.Operation):
    """Traces a model as a whole, with the backend's tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, images):
        return self.model(images, training=False)


def _convolutions_of(model, shape):
    with forms.tried({}), forms.asked_for() as asked:
        forms.forget()
        try:
            _Call(model).symbolic_call(
                keras.KerasTensor(shape, dtype=model.input_dtype)
            )
        except ValueError as error:
            # Keras says why between words of its own.
            before, _, behind = str(error).partition("Error encountered:")
            reason = (behind or before).strip().splitlines()[0]
            raise ValueError(
                "`input_shape` must be one that the model takes. Received: "
                f"input_shape={shape[1:]} ({reason})"
            ) from error
    return asked


def _image_shape(model, input_shape):
    if input_shape is None:
        input_shape = getattr(model, "input_shape", (None,))[1:]
    sizes = tuple(input_shape)
    if len(sizes) != 3 or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            "`input_shape` must be the height, width and channels of an "
            "image in the order that the model takes, all known. "
            f"Received: input_shape={input_shape}"
        )
    return sizes


def _check_positive(**arguments):
    for name, value in arguments.items():
        if not value > 0:
            raise ValueError(
                f"`{name}` must be positive. Received: {name}={value}"
            )
