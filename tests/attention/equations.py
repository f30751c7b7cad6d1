"""The equations in NumPy, apart from the layers that they test.

Images are `(N, H, W, C)`, dense kernels `(inputs, outputs)`, kernels of
convolutions `(height, width, inputs, outputs)`. A BatchNorm uses its moving
statistics.
"""

import numpy as np
from keras import ops


def values(*weights):
    """Weights as float64, those of a BatchNorm as a tuple."""
    found = []
    for weight in weights:
        if hasattr(weight, "moving_mean"):
            norm = (weight.gamma, weight.beta, weight.moving_mean)
            found.append(tuple(values(*norm, weight.moving_variance)))
        else:
            found.append(ops.convert_to_numpy(weight).astype("float64"))
    return found


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def relu(z):
    return np.maximum(z, 0)


def softmax(z, axis):
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def conv(x, kernel, bias=0.0, dilation=1):
    height, width = kernel.shape[:2]
    rows, columns = dilation * (height // 2), dilation * (width // 2)
    padded = np.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)))
    h, w = x.shape[1:3]
    y = 0
    for i in range(height):
        for j in range(width):
            part = padded[:, i * dilation :, j * dilation :][:, :h, :w]
            y = y + part @ kernel[i, j]
    return y + bias


def norm(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def se(x, w1, w2, b1=0.0, b2=0.0):
    s = x.mean((1, 2))
    return x * sigmoid(relu(s @ w1 + b1) @ w2 + b2)[:, None, None]


def eca(x, taps):
    s, k = x.mean((1, 2)), len(taps)
    p = np.pad(s, ((0, 0), (k // 2, k // 2)))
    z = sum(taps[i] * p[:, i : i + s.shape[1]] for i in range(k))
    return x * sigmoid(z)[:, None, None]


def gc(x, wm, bm, w1, b1, gamma, beta, w2, b2):
    n, h, w, c = x.shape
    f = x.reshape(n, h * w, c)
    a = softmax(f @ wm + bm, 1)
    t = (f * a).sum(1) @ w1 + b1
    t = norm(t, gamma, beta, t.mean(-1, keepdims=True), t.var(-1)[:, None])
    return x + (relu(t) @ w2 + b2)[:, None, None]


def srm(x, styles, bn):
    f = x.reshape(x.shape[0], -1, x.shape[-1])
    mean, std = f.mean(1), np.sqrt(f.var(1, ddof=1) + 1e-5)
    z = norm(mean * styles[:, 0] + std * styles[:, 1], *bn)
    return x * sigmoid(z)[:, None, None]


def sa(x, cw, cb, sw, sb, gamma, beta, groups):
    n, h, w, c = x.shape
    y = x.reshape(n, h, w, groups, 2, c // (2 * groups))
    a, b = y[..., 0, :], y[..., 1, :]
    a = a * sigmoid(cw * a.mean((1, 2), keepdims=True) + cb)
    m, v = b.mean((1, 2), keepdims=True), b.var((1, 2), keepdims=True)
    b = b * sigmoid(sw * norm(b, gamma, beta, m, v) + sb)
    z = np.stack([a, b], -2).reshape(n, h, w, 2, c // 2)
    return z.swapaxes(-1, -2).reshape(n, h, w, c)


def simam(x, regularization):
    n = x.shape[1] * x.shape[2] - 1
    d = (x - x.mean((1, 2), keepdims=True)) ** 2
    variance = d.sum((1, 2), keepdims=True) / n
    return x * sigmoid(d / (4 * (variance + regularization)) + 0.5)
