"""Attentions as one would write them at once, of Keras' own layers.

What the layers of `keras_epsanet.attention` are timed against: functions of
an image `(N, H, W, C)`, with as many weights, and no thought given to speed.
"""

import math

import numpy as np
from keras import layers, ops


def gate(x, logits):
    return layers.Multiply()([x, layers.Activation("sigmoid")(logits)])


def squeeze(x):
    return layers.GlobalAveragePooling2D(keepdims=True)(x)


def mlp(channels, hidden, **options):
    first = layers.Dense(hidden, "relu", **options)
    second = layers.Dense(channels, **options)
    return lambda x: second(first(x))


def norm(x, axis=-1):
    return layers.BatchNormalization(axis=axis, epsilon=1e-5)(x)


def planes(x, axis):
    """Maximum and mean over an axis, as two channels."""
    both = [ops.max(x, axis), ops.mean(x, axis)]
    return ops.stack(both, axis=-1)


def plane_gate(x):
    return norm(layers.Conv2D(1, 7, padding="same", use_bias=False)(x))


def se(x):
    return gate(x, mlp(x.shape[-1], x.shape[-1] // 16)(squeeze(x)))


def eca(x):
    size = int((math.log2(x.shape[-1]) + 1) / 2) | 1
    sequence = layers.Reshape((-1, 1))(squeeze(x))
    logits = layers.Conv1D(1, size, padding="same", use_bias=False)(sequence)
    return gate(x, layers.Reshape((1, 1, -1))(logits))


def cbam(x):
    shared = mlp(x.shape[-1], x.shape[-1] // 16)
    maximum = layers.GlobalMaxPooling2D(keepdims=True)(x)
    x = gate(x, layers.Add()([shared(squeeze(x)), shared(maximum)]))
    return gate(x, plane_gate(planes(x, -1)))


def triplet(x):
    rows = plane_gate(ops.transpose(planes(x, 1), (0, 2, 1, 3)))
    columns = plane_gate(planes(x, 2))
    pixels = plane_gate(planes(x, -1))
    gated = [
        gate(x, ops.transpose(rows, (0, 3, 2, 1))),
        gate(x, ops.transpose(columns, (0, 1, 3, 2))),
        gate(x, pixels),
    ]
    return layers.Average()(gated)


def srm(x):
    pixels = x.shape[1] * x.shape[2]
    variance = ops.var(x, (1, 2)) * (pixels / (pixels - 1))
    styles = [ops.mean(x, (1, 2)), ops.sqrt(variance + 1e-5)]
    styles = ops.stack(styles, axis=-1)
    logits = layers.DepthwiseConv1D(2, use_bias=False)(
        ops.transpose(styles, (0, 2, 1))
    )
    return gate(x, layers.Reshape((1, 1, -1))(norm(logits)))


def gc(x):
    channels = x.shape[-1]
    weights = layers.Reshape((-1, 1))(layers.Conv2D(1, 1)(x))
    weights = layers.Softmax(axis=1)(weights)
    context = layers.Dot(axes=1)([layers.Reshape((-1, channels))(x), weights])
    context = layers.Dense(channels // 16)(layers.Reshape((1, 1, -1))(context))
    context = layers.ReLU()(layers.LayerNormalization(epsilon=1e-5)(context))
    return layers.Add()([x, layers.Dense(channels)(context)])


def simam(x):
    square = ops.square(x - ops.mean(x, (1, 2), keepdims=True))
    count = x.shape[1] * x.shape[2] - 1
    variance = ops.sum(square, (1, 2), keepdims=True) / count
    return gate(x, square / (4 * (variance + 1e-4)) + 0.5)


def coordinate(x):
    height, channels = x.shape[1], x.shape[-1]
    rows = ops.mean(x, 2, keepdims=True)
    columns = ops.transpose(ops.mean(x, 1, keepdims=True), (0, 2, 1, 3))
    both = layers.Concatenate(axis=1)([rows, columns])
    both = norm(layers.Conv2D(max(8, channels // 32), 1)(both))
    both = layers.Activation("hard_swish")(both)
    rows = layers.Conv2D(channels, 1)(both[:, :height])
    columns = layers.Conv2D(channels, 1)(both[:, height:])
    return gate(gate(x, rows), ops.transpose(columns, (0, 2, 1, 3)))


def bam(x):
    channels, hidden = x.shape[-1], x.shape[-1] // 16
    logits = norm(layers.Dense(hidden)(squeeze(x)))
    logits = layers.Dense(channels)(layers.ReLU()(logits))
    y = layers.ReLU()(norm(layers.Conv2D(hidden, 1)(x)))
    for _ in range(2):
        y = layers.Conv2D(hidden, 3, padding="same", dilation_rate=4)(y)
        y = layers.ReLU()(norm(y))
    logits = layers.Multiply()([logits, layers.Conv2D(1, 1)(y)])
    return layers.Add()([x, gate(x, logits)])


def non_local(x):
    channels = x.shape[-1]
    query, key, value = (
        layers.Reshape((-1, channels // 2))(layers.Conv2D(channels // 2, 1)(x))
        for _ in range(3)
    )
    query = layers.Rescaling((channels // 2) ** -0.5)(query)
    y = layers.Attention(use_scale=False)([query, value, key])
    y = layers.Reshape((*x.shape[1:3], channels // 2))(y)
    return layers.Add()([x, norm(layers.Conv2D(channels, 1)(y))])


def a2(x):
    channels, maps = x.shape[-1], x.shape[-1] // 2
    features, gather, hand_out = (
        layers.Reshape((-1, maps))(layers.Conv2D(maps, 1)(x)) for _ in range(3)
    )
    gather = layers.Softmax(axis=1)(gather)
    descriptors = layers.Dot(axes=1)([features, gather])
    hand_out = layers.Softmax(axis=-1)(hand_out)
    y = layers.Dot(axes=(2, 2))([hand_out, descriptors])
    y = layers.Reshape((*x.shape[1:3], maps))(y)
    return layers.Add()([x, layers.Conv2D(channels, 1)(y)])


def fca(x):
    random = np.random.default_rng(0)
    basis = random.normal(size=x.shape[1:]).astype("float32")
    channels = x.shape[-1]
    sums = layers.Reshape((1, 1, -1))(ops.sum(x * basis, (1, 2)))
    return gate(x, mlp(channels, channels // 16, use_bias=False)(sums))


class Affine(layers.Layer):
    def build(self, input_shape):
        shape = input_shape[-1:]
        self.scale = self.add_weight(shape=shape, initializer="ones")
        self.shift = self.add_weight(shape=shape, initializer="zeros")

    def call(self, inputs):
        return inputs * self.scale + self.shift


def sa(x):
    height, width, channels = x.shape[1:]
    y = layers.Reshape((height, width, 64, channels // 64))(x)
    first, second = ops.split(y, 2, axis=-1)
    mean = ops.mean(first, (1, 2), keepdims=True)
    first = gate(first, Affine()(mean))
    mean = ops.mean(second, (1, 2), keepdims=True)
    variance = ops.var(second, (1, 2), keepdims=True)
    norm = (second - mean) / ops.sqrt(variance + 1e-5)
    second = gate(second, Affine()(Affine()(norm)))
    y = layers.Concatenate()([first, second])
    y = layers.Reshape((height, width, 2, channels // 2))(y)
    y = ops.transpose(y, (0, 1, 2, 4, 3))
    return layers.Reshape((height, width, channels))(y)


def conv(x, filters, size=1, use_bias=False, **options):
    options = dict(padding="same", use_bias=use_bias, **options)
    return layers.Conv2D(filters, size, **options)(x)


def conv_norm_relu(x, filters, size=1, **options):
    return layers.ReLU()(norm(conv(x, filters, size, **options)))


def ema(x):
    height, width, channels = x.shape[1:]
    q = channels // 32
    y = layers.Reshape((height, width, 32, q))(x)
    y = ops.reshape(ops.transpose(y, (0, 3, 1, 2, 4)), (-1, height, width, q))
    rows = ops.mean(y, 2, keepdims=True)
    columns = ops.transpose(ops.mean(y, 1, keepdims=True), (0, 2, 1, 3))
    lines = conv(layers.Concatenate(axis=1)([rows, columns]), q, use_bias=True)
    columns = ops.transpose(lines[:, height:], (0, 2, 1, 3))
    first = gate(gate(y, lines[:, :height]), columns)
    first = layers.GroupNormalization(-1, epsilon=1e-5)(first)
    second = conv(y, q, 3, use_bias=True)
    logits = 0
    for one, other in ((first, second), (second, first)):
        share = layers.Softmax()(layers.GlobalAveragePooling2D()(one))
        other = ops.reshape(other, (-1, height * width, q))
        logits = logits + ops.matmul(other, share[:, :, None])
    y = gate(y, ops.reshape(logits, (-1, height, width, 1)))
    y = ops.reshape(y, (-1, 32, height, width, q))
    y = ops.transpose(y, (0, 2, 3, 1, 4))
    return layers.Reshape((height, width, channels))(y)


def gsop(x, filters=128):
    z = conv_norm_relu(layers.ReLU()(x), filters, use_bias=True)
    z = layers.Reshape((-1, filters))(z)
    z = z - ops.mean(z, 1, keepdims=True)
    covariance = layers.Dot(axes=1)([z, z]) / z.shape[1]
    rows = layers.EinsumDense("nij,ijk->nik", (filters, 4), bias_axes="ik")
    numbers = layers.Flatten()(rows(norm(covariance, axis=1)))
    logits = layers.Dense(x.shape[-1])(numbers)
    return gate(x, layers.Reshape((1, 1, -1))(logits))


class Factor(layers.Layer):
    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(), initializer="zeros")

    def call(self, inputs):
        return inputs * self.gamma


def position(x):
    channels = x.shape[-1]
    query, key, value = (
        layers.Reshape((-1, filters))(conv(x, filters, use_bias=True))
        for filters in (channels // 8, channels // 8, channels)
    )
    y = layers.Attention(use_scale=False)([query, value, key])
    return layers.Add()([x, Factor()(layers.Reshape(x.shape[1:])(y))])


def channel(x):
    y = layers.Reshape((-1, x.shape[-1]))(x)
    attention = layers.Softmax()(-layers.Dot(axes=1)([y, y]))
    y = layers.Dot(axes=(2, 2))([y, attention])
    return layers.Add()([x, Factor()(layers.Reshape(x.shape[1:])(y))])


COMPOSITIONS = {
    function.__name__: function
    for function in (
        *(se, eca, cbam, bam, triplet, srm, gc, simam, coordinate),
        *(non_local, a2, fca, sa, ema, gsop, position, channel),
    )
}
