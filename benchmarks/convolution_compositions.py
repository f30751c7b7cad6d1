"""Convolutions with attention as one would write them at once.

As those of attention_compositions.py: functions of an image `(N, H, W, C)`,
of Keras' own layers, with as many weights as ours and no thought given to
speed.
"""

import numpy as np
from attention_compositions import (
    conv,
    conv_norm_relu,
    mlp,
    norm,
    squeeze,
)
from keras import layers, ops


def pyramid(x):
    branches = zip((3, 5, 7, 9), (1, 4, 8, 16))
    width = x.shape[-1] // 4
    return [conv(x, width, size, groups=groups) for size, groups in branches]


def pyconv(x):
    return layers.Concatenate()(pyramid(x))


def psa(x):
    features = pyramid(x)
    shared = mlp(x.shape[-1] // 4, x.shape[-1] // 64)
    weights = [ops.sigmoid(shared(squeeze(part))) for part in features]
    weights = layers.Softmax(axis=1)(ops.stack(weights, axis=1))
    features = [
        layers.Multiply()([part, weights[:, i]])
        for i, part in enumerate(features)
    ]
    return layers.Concatenate()(features)


def choose(parts, logits):
    """The sum of parts by a softmax over as many parts of the logits."""
    logits = ops.stack(ops.split(logits, len(parts), axis=-1), axis=1)
    shares = layers.Softmax(axis=1)(logits)
    parts = [
        layers.Multiply()([part, shares[:, i]]) for i, part in enumerate(parts)
    ]
    return layers.Add()(parts)


def sk(x):
    channels = x.shape[-1]
    paths = [
        conv_norm_relu(x, channels, 3, groups=32, dilation_rate=dilation)
        for dilation in (1, 2)
    ]
    z = layers.Dense(max(channels // 16, 32), use_bias=False)
    z = layers.ReLU()(norm(z(squeeze(layers.Add()(paths)))))
    return choose(paths, layers.Dense(2 * channels, use_bias=False)(z))


def split(x):
    channels = x.shape[-1]
    parts = conv_norm_relu(x, 2 * channels, 3, groups=2)
    parts = ops.split(parts, 2, axis=-1)
    z = layers.Dense(channels // 2)(squeeze(layers.Add()(parts)))
    z = layers.ReLU()(norm(z))
    return choose(parts, layers.Dense(2 * channels)(z))


def res2net(x):
    *slices, rest = ops.split(x, 4, axis=-1)
    outputs = []
    for part in slices:
        if outputs:
            part = layers.Add()([part, outputs[-1]])
        outputs.append(conv_norm_relu(part, part.shape[-1], 3))
    return layers.Concatenate()([*outputs, rest])


def hs(x):
    rest, *slices = ops.split(x, 4, axis=-1)
    outputs, handed = [rest], []
    for part in slices:
        part = layers.Concatenate()([part, *handed]) if handed else part
        part = conv_norm_relu(part, part.shape[-1], 3)
        if len(outputs) < 3:
            half = part.shape[-1] - part.shape[-1] // 2
            part, rest = ops.split(part, [half], axis=-1)
            handed = [rest]
        outputs.append(part)
    return layers.Concatenate()(outputs)


class Tables(layers.Layer):
    """Logits of relative positions, for queries `(N, heads, H, W, d)`."""

    def build(self, input_shape):
        _, _, height, width, d = input_shape
        self.rows = self.add_weight(shape=(2 * height - 1, d))
        self.columns = self.add_weight(shape=(2 * width - 1, d))

    def call(self, queries):
        height, width = queries.shape[2:4]
        rows, columns = (np.arange(size) for size in (height, width))
        rows = ops.take(self.rows, rows - rows[:, None] + height - 1, 0)
        columns = columns - columns[:, None] + width - 1
        columns = ops.take(self.columns, columns, 0)
        rows = ops.einsum("nhyxd,yid->nhyxi", queries, rows)
        columns = ops.einsum("nhyxd,xjd->nhyxj", queries, columns)
        logits = rows[..., :, None] + columns[..., None, :]
        pixels = height * width
        return ops.reshape(logits, (-1, queries.shape[1], pixels, pixels))


def aa(x, heads=8, keys=160, values=24):
    height, width, channels = x.shape[1:]
    features = conv(x, channels - values, 3)
    parts = ops.split(conv(x, 2 * keys + values), [keys, 2 * keys], axis=-1)
    query, key, value = (
        layers.Permute((2, 1, 3))(
            layers.Reshape((height * width, heads, -1))(part)
        )
        for part in parts
    )
    query = layers.Rescaling((keys // heads) ** -0.5)(query)
    logits = ops.einsum("nhpd,nhqd->nhpq", query, key)
    shape = (-1, heads, height, width, keys // heads)
    logits = layers.Add()([logits, Tables()(ops.reshape(query, shape))])
    attended = ops.einsum("nhpq,nhqd->nphd", ops.softmax(logits), value)
    attended = layers.Reshape((height, width, values))(attended)
    return layers.Concatenate()([features, conv(attended, values)])


def abn(x, classes=1000):
    t = conv_norm_relu(norm(x), classes)
    weights = ops.sigmoid(norm(conv(t, 1, 3)))
    return weights, layers.GlobalAveragePooling2D()(conv(t, classes))


COMPOSITIONS = {
    function.__name__: function
    for function in (psa, pyconv, sk, split, res2net, hs, aa, abn)
}
