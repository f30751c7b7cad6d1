import keras
import numpy as np
import pytest

from keras_epsanet.layers import PSA, SPC, GroupedConv2D
from keras_epsanet.weights.inherit_layers import plan_layers

FILTERS = 16


def make_model(layer, dense=3, name="model"):
    image = keras.Input((9, 9, 8))
    x = keras.layers.BatchNormalization(name="norm")(layer(image))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(
        image, keras.layers.Dense(dense, name="top")(x), name=name
    )


def psa(**kwargs):
    kwargs = {"groups": (1, 2, 4, 4), "reduction": 1, **kwargs}
    return PSA(FILTERS, name="conv", **kwargs)


def spc(**kwargs):
    return SPC(FILTERS, name="conv", **{"groups": (1, 2, 4, 4), **kwargs})


def convolution(**kwargs):
    kwargs = {"padding": "same", "use_bias": False, **kwargs}
    return keras.layers.Conv2D(FILTERS, 3, name="conv", **kwargs)


def apply(plan):
    for variable, array in plan.assignments:
        variable.assign(array)


def make_images():
    generator = np.random.default_rng(0)
    return generator.normal(size=(4, 9, 9, 8)).astype("float32")


def test_layers_of_the_same_name_and_shapes_are_copied():
    source = make_model(convolution())
    model = make_model(psa())
    plan = plan_layers(model, source)
    apply(plan)
    assert plan.exact == ["norm", "top"]
    assert list(plan.partly) == ["conv"]
    np.testing.assert_array_equal(
        model.get_layer("top").kernel, source.get_layer("top").kernel
    )


@pytest.mark.parametrize("make", [psa, spc])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_module_of_one_group_computes_the_convolution(groups, make):
    source = make_model(GroupedConv2D(FILTERS, 3, groups=groups, name="conv"))
    model = make_model(make(groups=(1, 1, 1, 1)))
    plan = plan_layers(model, source)
    apply(plan)
    assert plan.exact == ["conv", "norm", "top"] and not plan.pairs
    images = make_images()
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        source.predict(images, verbose=0),
        atol=1e-5,
    )


@pytest.mark.parametrize("make", [psa, spc])
@pytest.mark.parametrize("make_source", [psa, spc])
def test_a_module_of_other_scales_holds_what_it_can(make, make_source):
    source_layer = make_source(groups=(4, 4, 4, 4), kernel_sizes=(3, 3, 5, 5))
    source = make_model(source_layer)
    if make_source is psa:
        for variable in source_layer.se.fc2.weights:
            variable.assign(keras.ops.zeros(variable.shape))
    model = make_model(make(groups=(2, 2, 2, 2), kernel_sizes=(5, 5, 5, 5)))
    plan = plan_layers(model, source)
    apply(plan)
    # All of a PSA's kernels, but its attention may not be neutral.
    assert plan.partly == ({"conv": 1.0} if make_source is psa else {})
    images = make_images()
    np.testing.assert_allclose(
        model.predict(images, verbose=0),
        source.predict(images, verbose=0),
        atol=1e-5,
    )


def test_a_module_of_the_same_scales_is_copied_with_its_attention():
    source, model = make_model(psa()), make_model(psa())
    plan = plan_layers(model, source)
    apply(plan)
    assert plan.exact == ["conv", "norm", "top"]
    images = make_images()
    np.testing.assert_array_equal(
        model.predict(images, verbose=0), source.predict(images, verbose=0)
    )


def test_other_shapes_and_names_are_left():
    source = make_model(convolution(), dense=5)
    plan = plan_layers(make_model(psa()), source)
    assert plan.left == ["top"]


def test_layers_of_inner_models_are_copied():
    def nest(inner):
        image = keras.Input((9, 9, 8))
        return keras.Model(image, inner(image))

    source = nest(make_model(convolution(), name="inner"))
    inner = make_model(psa(), name="inner")
    plan = plan_layers(nest(inner), source)
    assert plan.exact == ["inner/norm", "inner/top"]
    assert list(plan.partly) == ["inner/conv"]
    assert not plan.pairs  # Nothing to fit: the graph does not call it.


@pytest.mark.parametrize(
    "kwargs, reason",
    [
        ({"strides": 2}, "strides=.2, 2"),
        ({"filters": 2 * FILTERS}, "filters=32"),
        ({"dilation_rate": 2}, "dilation_rate"),
        ({"kernel_size": (3, 5)}, "kernel_size"),
        ({"kernel_size": 2}, "kernel_size"),
        ({"use_bias": True}, "a bias"),
        ({"activation": "relu"}, "an activation"),
        ({"padding": "valid"}, "does not pad half"),
    ],
)
def test_what_a_module_does_not_compute_is_refused(kwargs, reason):
    layer = keras.layers.Conv2D(
        **{
            "filters": FILTERS,
            "kernel_size": 3,
            "padding": "same",
            "use_bias": False,
            **kwargs,
        },
        name="conv",
    )
    with pytest.raises(ValueError, match=f"cannot stand for.*{reason}.*Rece"):
        plan_layers(make_model(psa()), make_model(layer))


def test_what_keras_pads_on_one_side_is_refused():
    source = make_model(convolution(strides=2))
    with pytest.raises(ValueError, match="does not pad half"):
        plan_layers(make_model(psa(strides=2)), source)
    source = make_model(GroupedConv2D(FILTERS, 3, strides=2, name="conv"))
    assert plan_layers(make_model(psa(strides=2)), source).partly


def test_a_model_without_common_layers_is_refused():
    image = keras.Input((4,))
    source = keras.Model(image, keras.layers.Dense(7)(image))
    with pytest.raises(ValueError, match="no layer of the name.*Received"):
        plan_layers(make_model(psa()), source)
