"""KerasHub's own tests of backbones and tasks, run on `EPSANetBackbone`."""

import sys
import types
from unittest import mock

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone

keras_hub = pytest.importorskip("keras_hub")
try:
    import grain  # noqa: F401
except ImportError:
    # The module of KerasHub's tests imports it for those of preprocessing.
    with mock.patch.dict(sys.modules, grain=types.ModuleType("grain")):
        from keras_hub.src.tests import test_case
else:
    from keras_hub.src.tests import test_case

TINY = {
    "stackwise_num_blocks": (1, 1),
    "stackwise_num_filters": (16, 32),
    "kernel_sizes": (3, 5),
    "groups": (1, 4),
    "reduction": 4,
    "image_shape": (32, 32, 3),
}
IMAGES = np.random.default_rng(0).standard_normal((2, 32, 32, 3))
IMAGES = IMAGES.astype("float32")


class EPSANetBackboneTest(test_case.TestCase):
    test_session = None  # TensorFlow's, which skips itself.

    # Without the checks of text models, for which there must be an attribute.
    @mock.patch.object(EPSANetBackbone, "token_embedding", None, create=True)
    def test_backbone(self):
        self.run_vision_backbone_test(
            cls=EPSANetBackbone,
            init_kwargs=TINY,
            input_data=keras.ops.convert_to_tensor(IMAGES),
            expected_output_shape=(2, 4, 4, 128),
            expected_pyramid_output_keys=["P2", "P3"],
            expected_pyramid_image_sizes=[(8, 8), (4, 4)],
        )

    def test_saved_model(self):
        self.run_model_saving_test(
            cls=EPSANetBackbone,
            init_kwargs=TINY,
            input_data=keras.ops.convert_to_tensor(IMAGES),
        )

    @pytest.mark.large
    def test_image_classifier(self):
        converter = keras_hub.layers.ImageConverter(image_size=(32, 32))
        self.run_task_test(
            cls=keras_hub.models.ImageClassifier,
            init_kwargs={
                "backbone": EPSANetBackbone(**TINY, norm_eval=True),
                "preprocessor": (
                    keras_hub.models.ImageClassifierPreprocessor(converter)
                ),
                "num_classes": 3,
            },
            train_data=(IMAGES, np.array([0, 2])),
            expected_output_shape=(2, 3),
        )


def image_classifier(dtype):
    backbone = EPSANetBackbone(**TINY, freeze_stages=1, dtype=dtype)
    return keras_hub.models.ImageClassifier(backbone, num_classes=3)


def object_detector(dtype):
    backbone = EPSANetBackbone(**TINY, freeze_stages=1, dtype=dtype)
    pyramid = keras_hub.models.RetinaNetBackbone(
        backbone,
        min_level=2,
        max_level=4,
        use_p5=True,
        image_shape=(32, 32, 3),
        dtype=dtype,
    )
    return keras_hub.models.RetinaNetObjectDetector(
        pyramid, num_classes=3, bounding_box_format="xyxy"
    )


def backbone_of(task):
    return getattr(task.backbone, "image_encoder", task.backbone)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("build", [image_classifier, object_detector])
def test_tasks_survive_file_and_preset(build, dtype, randomize, tmp_path):
    task = randomize(build(dtype))
    backbone_of(task).get_layer("conv3_block1_psa").trainable = False
    expected = keras.tree.map_structure(to_float32, task(IMAGES))
    task.save(tmp_path / "task.keras")
    task.save_to_preset(str(tmp_path / "preset"))
    # KerasHub reads no dtype of mixed precision from a preset by itself.
    for copy in (
        keras.saving.load_model(tmp_path / "task.keras", compile=False),
        type(task).from_preset(str(tmp_path / "preset"), dtype=dtype),
    ):
        backbone = backbone_of(copy)
        assert type(backbone) is EPSANetBackbone
        assert backbone.dtype_policy.name == dtype
        assert backbone.get_layer("conv1_conv").dtype_policy.name == dtype
        outputs = keras.tree.map_structure(to_float32, copy(IMAGES))
        keras.tree.map_structure(
            np.testing.assert_array_equal, outputs, expected
        )
        paths = [weight.path for weight in copy.trainable_weights]
        assert paths == [weight.path for weight in task.trainable_weights]


def to_float32(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))
