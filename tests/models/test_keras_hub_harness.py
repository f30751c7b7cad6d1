"""KerasHub's own tests of backbones and tasks, run on the backbones here."""

import sys
import types
from unittest import mock

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone, ResNetBackbone

keras_hub = pytest.importorskip("keras_hub")
try:
    import grain  # noqa: F401
except ImportError:
    # The module of KerasHub's tests imports it for those of preprocessing.
    with mock.patch.dict(sys.modules, grain=types.ModuleType("grain")):
        from keras_hub.src.tests import test_case
else:
    from keras_hub.src.tests import test_case

FRAME = {
    "stackwise_num_blocks": (1, 1),
    "stackwise_num_filters": (16, 32),
    "image_shape": (32, 32, 3),
}
TINY = {**FRAME, "kernel_sizes": (3, 5), "groups": (1, 4), "reduction": 4}
IMAGES = np.random.default_rng(0).standard_normal((2, 32, 32, 3))
IMAGES = IMAGES.astype("float32")
RESNET = {**FRAME, "attention": "eca"}


class BackboneTest(test_case.TestCase):
    test_session = None  # TensorFlow's, which skips itself.

    def check_backbone(self, cls, arguments):
        self.run_vision_backbone_test(
            cls=cls,
            init_kwargs=arguments,
            input_data=keras.ops.convert_to_tensor(IMAGES),
            expected_output_shape=(2, 4, 4, 128),
            expected_pyramid_output_keys=["P2", "P3"],
            expected_pyramid_image_sizes=[(8, 8), (4, 4)],
        )

    def test_epsanet_backbone(self):
        self.check_backbone(EPSANetBackbone, TINY)

    def test_resnet_backbone(self):
        self.check_backbone(ResNetBackbone, RESNET)

    def test_saved_model(self):
        for cls, arguments in (
            (EPSANetBackbone, TINY),
            (ResNetBackbone, RESNET),
        ):
            self.run_model_saving_test(
                cls=cls,
                init_kwargs=arguments,
                input_data=keras.ops.convert_to_tensor(IMAGES),
            )


class TaskTest(test_case.TestCase):
    test_session = None

    def check_image_classifier(self, backbone):
        self.run_task_test(
            cls=keras_hub.models.ImageClassifier,
            init_kwargs={
                "backbone": backbone,
                "preprocessor": keras_hub.models.ImageClassifierPreprocessor(
                    CONVERTER
                ),
                "num_classes": 3,
            },
            train_data=(IMAGES, np.array([0, 2])),
            expected_output_shape=(2, 3),
        )

    def test_image_classifier(self):
        self.check_image_classifier(EPSANetBackbone(**TINY, norm_eval=True))

    def test_image_classifier_of_a_resnet(self):
        self.check_image_classifier(ResNetBackbone(**RESNET, norm_eval=True))

    def test_image_segmenter(self):
        self.run_task_test(
            cls=keras_hub.models.DeepLabV3ImageSegmenter,
            init_kwargs={
                "backbone": deeplab(EPSANetBackbone(**TINY, norm_eval=True)),
                "preprocessor": (
                    keras_hub.models.DeepLabV3ImageSegmenterPreprocessor(
                        CONVERTER, resize_output_mask=True
                    )
                ),
                "num_classes": 3,
            },
            train_data=(IMAGES, np.eye(3)[np.zeros((2, 32, 32), int)]),
            expected_output_shape=(2, 32, 32, 3),
        )

    def test_object_detector(self):
        backbone = EPSANetBackbone(**TINY, norm_eval=True)
        boxes = np.array([[[4, 4, 20, 20]], [[8, 8, 24, 28]]], "float32")
        self.run_task_test(
            cls=keras_hub.models.RetinaNetObjectDetector,
            init_kwargs={
                "backbone": feature_pyramid(backbone, "float32"),
                "preprocessor": (
                    keras_hub.models.RetinaNetObjectDetectorPreprocessor(
                        CONVERTER
                    )
                ),
                "num_classes": 3,
                "bounding_box_format": "yxyx",
            },
            train_data=(
                IMAGES,
                {"boxes": boxes, "labels": np.array([[0.0], [2.0]])},
            ),
            expected_output_shape={
                "boxes": (2, 100, 4),
                "labels": (2, 100),
                "confidence": (2, 100),
                "num_detections": (2,),
            },
        )


CONVERTER = keras_hub.layers.ImageConverter(image_size=(32, 32))


def deeplab(backbone):
    return keras_hub.models.DeepLabV3Backbone(
        backbone,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P3",
        dilation_rates=[2],
        upsampling_size=2,
        image_shape=(32, 32, 3),
    )


def feature_pyramid(backbone, dtype):
    return keras_hub.models.RetinaNetBackbone(
        backbone,
        min_level=2,
        max_level=4,
        use_p5=True,
        image_shape=(32, 32, 3),
        dtype=dtype,
    )


def image_classifier(dtype):
    backbone = EPSANetBackbone(**TINY, freeze_stages=1, dtype=dtype)
    return keras_hub.models.ImageClassifier(backbone, num_classes=3)


def object_detector(dtype):
    backbone = EPSANetBackbone(**TINY, freeze_stages=1, dtype=dtype)
    return keras_hub.models.RetinaNetObjectDetector(
        feature_pyramid(backbone, dtype),
        num_classes=3,
        bounding_box_format="xyxy",
    )


def image_segmenter(dtype):
    backbone = EPSANetBackbone(**TINY, freeze_stages=1, dtype=dtype)
    return keras_hub.models.DeepLabV3ImageSegmenter(
        deeplab(backbone), num_classes=3
    )


def backbone_of(task):
    return getattr(task.backbone, "image_encoder", task.backbone)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "build", [image_classifier, image_segmenter, object_detector]
)
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
        assert trained(backbone) == trained(backbone_of(task))
        # KerasHub numbers some of its own layers.
        assert len(trained(copy)) == len(trained(task))


def trained(model):
    return [weight.path for weight in model.trainable_weights]


def to_float32(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))
