import keras
import numpy as np
import pytest

from keras_epsanet.layers import PSA, SPC, Bias, GroupedConv2D
from keras_epsanet.weights.embedding import Pyramid, embed
from keras_epsanet.weights.pyramid_fit import Pair, fit_pyramids

FILTERS = 16


def make_images(count=24, size=9, channels=8):
    generator = np.random.default_rng(0)
    return generator.normal(size=(count, size, size, channels)).astype(
        "float32"
    )


def make_psa(data_format="channels_last", **kwargs):
    kwargs = {"groups": (1, 2, 4, 4), "reduction": 1, **kwargs}
    return PSA(FILTERS, data_format=data_format, name="psa", **kwargs)


def make_model(layer, channels=8, size=9):
    shape = (size, size, channels)
    if layer.data_format == "channels_first":
        shape = (channels, size, size)
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


def make_neutral(psa):
    for variable in psa.se.fc2.weights:
        variable.assign(keras.ops.zeros(variable.shape))


def fit(psa, source_layer, images, order=None, **kwargs):
    if order is None:
        order = np.arange(FILTERS)
    if psa.data_format == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    model, source = make_model(psa), make_model(source_layer)
    make_neutral(psa)
    pairs = [Pair(psa, source_layer, order)]
    first = len(images) // 3
    batches = [images[:first], images[first:]]
    shares = fit_pyramids(
        model, source, pairs, batches, verbose=False, **kwargs
    )
    return model, source, shares["psa"], images


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "kwargs",
    [{}, {"strides": 2}, {"split_input": True, "groups": (1, 2, 2, 1)}],
)
def test_a_module_learns_what_it_can_compute(data_format, kwargs):
    if keras.backend.backend() == "tensorflow":
        if data_format == "channels_first":
            pytest.skip("TensorFlow has no such convolution on a CPU")
    source = make_psa(data_format, **kwargs)
    make_model(source)
    make_neutral(source)
    psa = make_psa(data_format, **kwargs)
    images = make_images(200)
    model, source, share, images = fit(psa, source, images)
    assert share > 0.999
    expected = source.predict(images, verbose=0)
    found = model.predict(images, verbose=0)
    assert np.square(found - expected).mean() < 1e-3 * expected.var()


def test_a_module_without_attention_learns_what_it_can_compute():
    groups = (1, 2, 4, 4)
    source, spc = (SPC(FILTERS, groups=groups, name="psa") for _ in range(2))
    model, source = make_model(spc), make_model(source)
    images = make_images(200)
    pairs = [Pair(spc, source.layers[-1], np.arange(FILTERS))]
    shares = fit_pyramids(model, source, pairs, [images], verbose=False)
    assert shares["psa"] > 0.999
    expected = source.predict(images, verbose=0)
    found = model.predict(images, verbose=0)
    assert np.square(found - expected).mean() < 1e-3 * expected.var()


def test_outputs_are_those_of_the_order():
    order = np.random.default_rng(1).permutation(FILTERS)
    psa = make_psa(groups=(1, 1, 1, 1))
    convolution = GroupedConv2D(FILTERS, 3)
    model, source, share, images = fit(
        psa, convolution, make_images(100), order
    )
    expected = source.predict(images, verbose=0)[..., order]
    found = model.predict(images, verbose=0)
    assert np.square(found - expected).mean() < 1e-3 * expected.var()


def test_a_module_explains_what_it_sees_of_independent_inputs():
    convolution = GroupedConv2D(FILTERS, 3)
    images = make_images(200)
    psa = make_psa()
    model, source, share, _ = fit(psa, convolution, images)
    kernel = keras.ops.convert_to_numpy(convolution.kernel)
    pyramid = Pyramid(8, FILTERS, psa.kernel_sizes, psa.groups)
    kept = embed(kernel, pyramid)[1]
    others = np.random.default_rng(5).normal(size=images.shape)
    expected = source.predict(others, verbose=0)
    found = model.predict(others, verbose=0)
    explained = 1 - np.square(found - expected).mean() / expected.var()
    assert explained == pytest.approx(kept, abs=0.05)
    assert share == pytest.approx(explained, abs=0.06)


@pytest.mark.parametrize("count, judged", [(20, [7, 15]), (7, range(7))])
def test_the_share_is_that_of_images_that_were_kept_out(count, judged):
    convolution = GroupedConv2D(FILTERS, 3)
    images = make_images(30)[:count]
    # All pixels of few images are used.
    model, source, share, _ = fit(make_psa(), convolution, images)
    images = images[list(judged)]
    expected = source.predict(images, verbose=0)
    found = model.predict(images, verbose=0)
    variance = np.square(expected - expected.mean((0, 1, 2))).sum()
    explained = 1 - np.square(found - expected).sum() / variance
    assert share == pytest.approx(explained, abs=1e-3)


def test_images_that_are_kept_out_do_not_change_the_kernels():
    convolution = GroupedConv2D(FILTERS, 3)
    images, kernels, shares = make_images(20), [], []
    psa = make_psa()
    make_model(psa)
    for factor in (1, 100):
        images[[7, 15]] *= factor
        for branch in psa.spc.convolutions:
            branch.kernel.assign(keras.ops.zeros(branch.kernel.shape))
        *_, share, _ = fit(psa, convolution, images)
        kernels.append(psa.spc.convolutions[1].kernel.numpy())
        shares.append(share)
    np.testing.assert_array_equal(*kernels)
    assert shares[0] != shares[1]


def test_a_module_that_only_learned_by_heart_explains_nothing():
    # What the source makes has nothing to do with the images, and there are
    # hardly more pixels than unknowns.
    psa = make_psa()
    model = make_model(psa)
    make_neutral(psa)
    images = make_images(16)

    class Noise(keras.layers.Layer):
        def call(self, inputs):
            return keras.random.normal((8, 9, 9, FILTERS), seed=3) + 0 * (
                keras.ops.mean(inputs)
            )

    noise = Noise()
    image = keras.Input(batch_shape=(8, 9, 9, 8))
    source = keras.Model(image, noise(image))
    pairs = [Pair(psa, noise, np.arange(FILTERS))]
    batches = [images[:8], images[8:]]
    shares = fit_pyramids(model, source, pairs, batches, verbose=False)
    assert shares["psa"] < 0


def test_the_same_seed_gives_the_same_kernels():
    convolution = GroupedConv2D(FILTERS, 3)
    images = make_images(200, 17)
    kernels = []
    for seed in (0, 0, 1):
        psa = PSA(FILTERS, groups=(1, 2, 4, 4), reduction=1, name="psa")
        model = make_model(psa, size=17)
        source = make_model(convolution, size=17)
        make_neutral(psa)
        for branch in psa.spc.convolutions:
            branch.kernel.assign(keras.ops.zeros(branch.kernel.shape))
        pairs = [Pair(psa, convolution, np.arange(FILTERS))]
        fit_pyramids(model, source, pairs, [images], seed, verbose=False)
        kernels.append(psa.spc.convolutions[1].kernel.numpy())
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


def test_a_module_is_fitted_to_what_reaches_it():
    # The module in front loses much, which the second one cannot know
    # from the source's own features.
    def chain(make):
        image = keras.Input((9, 9, 8))
        first = make("first")(image)
        relu = keras.layers.ReLU()(first)
        return keras.Model(image, make("second")(relu))

    source = chain(lambda name: GroupedConv2D(FILTERS, 3, name=name))
    model = chain(
        lambda name: PSA(FILTERS, groups=(4, 4, 4, 4), reduction=1, name=name)
    )
    pairs = []
    for name in ("first", "second"):
        make_neutral(model.get_layer(name))
        pairs.append(
            Pair(
                model.get_layer(name),
                source.get_layer(name),
                np.arange(FILTERS),
            )
        )
    images = make_images(100)
    shares = fit_pyramids(model, source, pairs, [images], verbose=False)
    images = images[7::8]  # Those that were kept out.
    expected = source.predict(images, verbose=0)
    found = model.predict(images, verbose=0)
    variance = expected.var((0, 1, 2)).mean()
    explained = 1 - np.square(found - expected).mean() / variance
    assert shares["second"] == pytest.approx(explained, abs=0.05)


@pytest.mark.parametrize("has_bias", [False, True])
def test_the_normalization_behind_makes_up_for_what_is_missing(has_bias):
    image = keras.Input((9, 9, 8))
    psa = make_psa()
    norm = keras.layers.BatchNormalization(epsilon=0.01)
    x, shift = psa(image), 0.0
    if has_bias:
        bias = Bias()
        x = bias(x)
        shift = np.linspace(-1, 1, FILTERS).astype("float32")
        bias.bias.assign(shift)
    model = keras.Model(image, norm(x))
    make_neutral(psa)
    convolution = GroupedConv2D(FILTERS, 3)
    source = make_model(convolution)
    images = make_images(30)
    targets = source.predict(images, verbose=0) + shift
    # As another data set has left it: half the variance, a shifted mean.
    mean, variance = targets.mean((0, 1, 2)) + 0.1, targets.var((0, 1, 2)) / 2
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)
    pairs = [Pair(psa, convolution, np.arange(FILTERS))]
    batches = [images[:11], images[11:]]
    fit_pyramids(model, source, pairs, batches, verbose=False)
    fitted = np.arange(30) % 8 != 7
    found = model.predict(images[fitted], verbose=0)
    expected = (targets[fitted] - mean) / np.sqrt(variance + 0.01)
    np.testing.assert_allclose(
        found.mean((0, 1, 2)), expected.mean((0, 1, 2)), atol=1e-2
    )
    np.testing.assert_allclose(
        found.var((0, 1, 2)), expected.var((0, 1, 2)), rtol=1e-2
    )


def test_a_channel_that_is_hardly_explained_is_not_made_large():
    image = keras.Input((9, 9, 8))
    psa = make_psa(groups=(4, 4, 4, 4))
    norm = keras.layers.BatchNormalization(epsilon=1e-6)
    model = keras.Model(image, norm(psa(image)))
    make_neutral(psa)
    convolution = GroupedConv2D(FILTERS, 3)
    source = make_model(convolution)
    # Output 0 is of inputs that its group does not see.
    kernel = np.zeros((3, 3, 8, FILTERS), "float32")
    kernel[1, 1, 7, 0] = 1.0
    kernel[1, 1, 0, 1:] = 1.0
    convolution.kernel.assign(kernel)
    pairs = [Pair(psa, convolution, np.arange(FILTERS))]
    for branch in psa.spc.convolutions:
        branch.kernel.assign(keras.ops.zeros(branch.kernel.shape))
    images = make_images(60)
    fit_pyramids(model, source, pairs, [images], verbose=False)
    assert float(norm.moving_variance[0]) == pytest.approx(0.01, rel=0.01)
