"""A trained network that a classifier learns from, besides the labels."""

import keras
from keras import ops

from keras_epsanet import storage
from keras_epsanet.distribution.replicas import current_strategy, num_replicas
from keras_epsanet.layers import ClassNames
from keras_epsanet.weights.public_resnets import read_source
from keras_epsanet.weights.resnet_like import resnet_like
from keras_epsanet.weights.resnet_names import load_keras_model


def read_resnet_teacher(source, network, classes):
    """Reads a ResNet of the depth and width of a network.

    Args:
        source: As in `keras_epsanet.inherit_weights`: a path or the name of
            a public file.
        network: A network with the layer `predictions`, without softmax.
        classes: Integer, classes that the ResNet must have.

    Returns:
        `keras.Model` with the inputs and outputs of `network`.

    Raises:
        OSError, ValueError: If the ResNet cannot be read, or has another
            depth, width or number of classes.
    """
    weights = read_source(network, source)
    if weights.classes != classes:
        raise ValueError(
            f"The teacher must know the {classes} classes of the data. "
            f"Received: {source}, {weights.name} with {weights.classes} "
            "classes"
        )
    return resnet_like(network, weights)


def read_teacher(source, student, class_names):
    """Reads a trained classifier or ResNet for images from 0 to 255.

    Args:
        source: Path of a classifier that `keras-epsanet train` saved, or as
            in `read_resnet_teacher`.
        student: Model from the images to logits that `build_classifier`
            returned a part of.
        class_names: List of strings.

    Returns:
        `keras.Model` from the same images to logits.

    Raises:
        OSError, ValueError: If the teacher cannot be read, or has other
            classes.
    """
    if source.endswith(".keras") and storage.isfile(source):
        model = load_keras_model(source)
        if isinstance(model.layers[-1], ClassNames):
            _check_names(source, model.layers[-1].names, class_names)
            logits = model.get_layer("logits").output
            return keras.Model(model.input, logits)
    return read_resnet_teacher(source, student, len(class_names))


def _check_names(source, theirs, ours):
    if list(theirs) != list(ours):
        raise ValueError(
            "The teacher must know the classes of the data, in their order: "
            f"{', '.join(ours)}. Received: {source} with {', '.join(theirs)}"
        )


class Distiller(keras.distillation.Distiller):
    """`keras.distillation.Distiller` of one loss that weighs each image.

    That of Keras 3.15 counts the images that fill up an evaluation's batches,
    and logs its parts divided by the number of devices.
    """

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        (loss,) = self.distillation_losses
        teacher, student = (
            ops.softmax(logits / loss.temperature)
            for logits in (self.teacher(x, training=False), y_pred)
        )
        of_labels = self._student_loss(y, y_pred, sample_weight)
        of_teacher = loss.loss(teacher, student, sample_weight)
        of_teacher = of_teacher * loss.temperature**2
        share = self.student_loss_weight
        total = share * of_labels + (1 - share) * of_teacher
        # Losses are divided by the replicas, which sum their gradients.
        replicas = num_replicas(current_strategy())
        for tracker, value in (
            (self.student_loss_tracker, of_labels),
            (self.distillation_loss_tracker, of_teacher),
            (self.total_loss_tracker, total),
        ):
            tracker.update_state(value * replicas, ops.shape(y_pred)[0])
        return total


def distilled(student, teacher, recipe):
    """Makes the model that learns from labels and a teacher.

    Args:
        student: `keras.Model` from images to logits.
        teacher: `keras.Model` from the same images to logits.
        recipe: `ClassificationRecipe`.

    Returns:
        `Distiller`, whose loss is `teacher_share` of the
        divergence from the teacher (times the square of `temperature`) and
        the rest of the loss of the labels. It predicts as the student does.
    """
    distiller = Distiller(
        teacher=teacher,
        student=student,
        # The loss as an object: of its name, Keras 3.15 makes a function that
        # takes the logits for probabilities.
        distillation_losses=keras.distillation.LogitsDistillation(
            recipe.temperature, keras.losses.KLDivergence()
        ),
        student_loss_weight=1 - recipe.teacher_share,
        name=student.name,
    )
    # Keras loads no checkpoint into a model that is not built.
    distiller.build(student.input_shape)
    return distiller
