import keras
import numpy as np
import pytest

from keras_epsanet import EPSANet
from keras_epsanet.classification import distillation, models

NAMES = ["cat", "dog", "pig"]


def images():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
    return pixels.astype("float32")


def array(x):
    return keras.ops.convert_to_numpy(x)


def student_of(recipe):
    """A classifier up to its logits."""
    classifier = models.build_classifier(recipe, NAMES)
    return keras.Model(
        classifier.input, classifier.get_layer("logits").output, name="student"
    )


@pytest.fixture
def resnet(tmp_path):
    """Path of a ResNet of the depth and width of the student, and itself."""

    def make(classes=3):
        network = EPSANet(
            (1,), (16,), (3,), (1,), input_shape=(32, 32, 3), classes=classes
        )
        path = str(tmp_path / "resnet.keras")
        network.save(path)
        return path, network

    return make


def test_a_classifier_teaches_by_its_logits(tmp_path, recipe):
    teacher = models.build_classifier(recipe(image_size=40), NAMES)
    path = str(tmp_path / "teacher.keras")
    teacher.save(path)
    found = distillation.read_teacher(path, student_of(recipe()), NAMES)
    np.testing.assert_allclose(
        array(keras.ops.softmax(found(images()))),
        array(teacher(images())),
        rtol=1e-4,
        atol=1e-6,
    )
    with pytest.raises(ValueError, match="dog, cat, pig. Received.*cat, dog"):
        distillation.read_teacher(
            path, student_of(recipe()), ["dog", "cat", "pig"]
        )


def test_a_resnet_teaches_from_pixels(recipe, resnet):
    from keras_epsanet import preprocess_input

    path, network = resnet()
    found = distillation.read_teacher(path, student_of(recipe()), NAMES)
    probabilities = network(preprocess_input(images()))
    np.testing.assert_allclose(
        array(keras.ops.softmax(found(images()))),
        array(probabilities),
        rtol=1e-4,
        atol=1e-6,
    )


def test_a_resnet_of_other_classes_is_refused(recipe, resnet):
    path, _ = resnet(classes=7)
    with pytest.raises(ValueError, match="the 3 classes.*with 7 classes"):
        distillation.read_teacher(path, student_of(recipe()), NAMES)


def losses(recipe, share):
    """Loss of the labels, of the teacher, and of both, of a student."""
    settings = recipe(teacher="x", teacher_share=share, temperature=2.0)
    student, teacher = student_of(settings), student_of(settings)
    for variable in teacher.trainable_variables:
        variable.assign(array(variable) * 1.5)
    distiller = distillation.distilled(student, teacher, settings)
    distiller.compile(
        keras.optimizers.SGD(0.0),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        weighted_metrics=models.metrics()[:1],
    )
    labels = np.eye(3)[[0, 1, 2, 0]]
    found = distiller.evaluate(images(), labels, verbose=0, return_dict=True)
    p, q = (
        array(keras.ops.softmax(model(images()) / 2.0))
        for model in (teacher, student)
    )
    divergence = np.mean(np.sum(p * np.log(p / q), axis=-1)) * 2.0**2
    log = np.log(array(keras.ops.softmax(student(images()))))
    return found, -np.mean(np.sum(labels * log, axis=-1)), divergence


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_the_loss_is_shared_by_labels_and_teacher(recipe, share):
    found, of_labels, of_teacher = losses(recipe, share)
    expected = (1 - share) * of_labels + share * of_teacher
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert of_teacher > 1e-6 and "top1" in found


def test_only_the_student_trains(recipe):
    settings = recipe(teacher="x")
    student, teacher = student_of(settings), student_of(settings)
    distiller = distillation.distilled(student, teacher, settings)
    distiller.compile("sgd", loss=keras.losses.MeanSquaredError())
    before = teacher.get_weights(), student.get_weights()
    distiller.fit(images(), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    for a, b in zip(teacher.get_weights(), before[0]):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(student.get_weights(), before[1]))
    np.testing.assert_allclose(
        distiller.predict(images(), verbose=0),
        array(student(images())),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_checkpoint_can_be_loaded_before_anything_is_computed(
    tmp_path, recipe
):
    settings = recipe(teacher="x")
    first, second = (
        distillation.distilled(
            student_of(settings), student_of(settings), settings
        )
        for _ in range(2)
    )
    first.save(tmp_path / "model.keras")
    second.load_weights(tmp_path / "model.keras")
    for a, b in zip(second.get_weights(), first.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_images_that_fill_up_a_batch_do_not_count(recipe):
    settings = recipe(teacher="x")
    student, teacher = student_of(settings), student_of(settings)
    distiller = distillation.distilled(student, teacher, settings)
    distiller.compile(
        "sgd", loss=keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    labels, others = np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[0, 1, 1, 1]]
    # Those without weight are others for the teacher as well.
    pixels, padded = images(), images()
    padded[2:] = 255 - padded[2:]
    teacher.get_layer("predictions").kernel.assign_add(
        np.random.default_rng(1).normal(
            size=teacher.get_layer("predictions").kernel.shape
        )
    )
    found = [
        distiller.evaluate(
            x,
            y,
            sample_weight=np.float32([1, 1, 0, 0]),
            verbose=0,
            return_dict=True,
        )
        for x, y in ((pixels, labels), (padded, others))
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-6)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas of TensorFlow"
)
def test_several_devices_log_what_one_does(run_python):
    run_python("""
import dataclasses, keras, numpy as np, tensorflow as tf
from keras_epsanet.classification import distillation
from keras_epsanet.training import ClassifierRecipe

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, 2 * [tf.config.LogicalDeviceConfiguration()]
)
recipe = ClassifierRecipe(teacher="x", teacher_share=0.25)

def train(strategy):
    def dense(scale):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        model.layers[0].kernel.assign(scale * np.arange(6.0).reshape(2, 3))
        return model

    with strategy.scope():
        model = distillation.distilled(dense(0.1), dense(0.3), recipe)
        model.compile(
            keras.optimizers.SGD(0.1),
            loss=keras.losses.CategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
    x = np.arange(24, dtype="float32").reshape(12, 2) / 24
    y = np.eye(3, dtype="float32")[np.arange(12) % 3]
    # Of a number of batches that Keras is not told.
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    data = data.filter(lambda x, y: True)
    return model.fit(data, epochs=2, verbose=0).history, model.get_weights()

one = train(tf.distribute.get_strategy())
two = train(tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]))
for name, values in one[0].items():
    np.testing.assert_allclose(two[0][name], values, rtol=1e-4, err_msg=name)
for a, b in zip(one[1], two[1]):
    np.testing.assert_allclose(a, b, rtol=1e-5)
history = one[0]
np.testing.assert_allclose(history["total_loss"], history["loss"], rtol=1e-5)
""")
