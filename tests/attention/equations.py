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


TOP_16 = (
    [0, 0, 6, 0, 0, 1, 1, 4, 5, 1, 3, 0, 0, 0, 3, 2],
    [0, 1, 0, 5, 2, 0, 2, 0, 0, 6, 0, 4, 6, 3, 5, 2],
)


def dct_mask(c, n, rows=TOP_16[0], columns=TOP_16[1]):
    def basis(u):
        v = np.cos(np.pi * u * (np.arange(n) + 0.5) / n) / np.sqrt(n)
        return v if u == 0 else v * np.sqrt(2)

    pairs = [(u * (n // 7), v * (n // 7)) for u, v in zip(rows, columns)]
    f = np.stack([np.outer(basis(u), basis(v)) for u, v in pairs], -1)
    return np.repeat(f, c // len(rows), -1)


def fca(x, w1, w2, n):
    b, h, w, c = x.shape
    y = x
    if (h, w) != (n, n):

        def part(size, i):
            return slice(i * size // n, -(-(i + 1) * size // n))

        y = np.zeros((b, n, n, c))
        for i in range(n):
            for j in range(n):
                y[:, i, j] = x[:, part(h, i), part(w, j)].mean((1, 2))
    s = (y * dct_mask(c, n)).sum((1, 2))
    return x * sigmoid(relu(s @ w1) @ w2)[:, None, None]


def gate(x, k, bn):
    z = np.stack([x.max(-1), x.mean(-1)], -1)
    return x * sigmoid(norm(conv(z, k), *bn))


def cbam(x, w1, b1, w2, b2, k, bn):
    def mlp(s):
        return relu(s @ w1 + b1) @ w2 + b2

    weights = sigmoid(mlp(x.mean((1, 2))) + mlp(x.max((1, 2))))
    return gate(x * weights[:, None, None], k, bn)


def triplet(x, k_cw, bn_cw, k_hc, bn_hc, k_hw, bn_hw):
    a = gate(x.transpose(0, 3, 2, 1), k_cw, bn_cw).transpose(0, 3, 2, 1)
    b = gate(x.transpose(0, 1, 3, 2), k_hc, bn_hc).transpose(0, 1, 3, 2)
    return (a + b + gate(x, k_hw, bn_hw)) / 3


def bam(x, w1, b1, bn1, w2, b2, stages, k, c):
    channels = relu(norm(x.mean((1, 2)) @ w1 + b1, *bn1)) @ w2 + b2
    s = x
    for dilation, (kernel, bias, bn) in zip((1, 4, 4), stages):
        s = relu(norm(conv(s, kernel, bias, dilation), *bn))
    return x * (1 + sigmoid(channels[:, None, None] * conv(s, k, c)))


def coordinate(x, w1, b1, bn, wr, br, wc, bc):
    def squeeze(lines):
        t = norm(lines @ w1 + b1, *bn)
        return t * np.clip(t + 3, 0, 6) / 6

    rows = sigmoid(squeeze(x.mean(2)) @ wr + br)[:, :, None]
    return x * rows * sigmoid(squeeze(x.mean(1)) @ wc + bc)[:, None]


def ema(x, w, b, k, c, gamma, beta, groups):
    n, height, width, _ = x.shape
    outputs = []
    for g in np.split(x, groups, -1):
        rows = sigmoid(g.mean(2, keepdims=True) @ w + b)
        a = g * rows * sigmoid(g.mean(1, keepdims=True) @ w + b)
        m, v = a.mean((1, 2), keepdims=True), a.var((1, 2), keepdims=True)
        a, b2 = norm(a, gamma, beta, m, v), conv(g, k, c)
        p, q = (softmax(t.mean((1, 2)), -1)[:, :, None] for t in (a, b2))
        z = b2.reshape(n, -1, p.shape[1]) @ p + a.reshape(n, -1, p.shape[1]) @ q
        outputs.append(g * sigmoid(z.reshape(n, height, width, 1)))
    return np.concatenate(outputs, -1)


def a2(x, wa, ba, wb, bb, wv, bv, wz, bz):
    n, h, w, c = x.shape
    f = x.reshape(n, h * w, c)
    gather = softmax(f @ wb + bb, 1)
    spread = softmax(f @ wv + bv, 2)
    descriptors = np.einsum("bpm,bpn->bmn", f @ wa + ba, gather)
    z = np.einsum("bmn,bpn->bpm", descriptors, spread).reshape(n, h, w, -1)
    return x + z @ wz + bz


def non_local(x, pooled, wt, bt, wp, bp, wg, bg, wo, bo, bn=None):
    n, h, w, c = x.shape
    f, g = x.reshape(n, h * w, c), pooled.reshape(n, -1, c)
    s = np.einsum("bpm,bqm->bpq", f @ wt + bt, g @ wp + bp)
    y = softmax(s * wt.shape[1] ** -0.5, -1) @ (g @ wg + bg)
    y = y.reshape(n, h, w, -1) @ wo + bo
    return x + (y if bn is None else norm(y, *bn))


def aa_conv(x, kernel, wqkv, wo, heads, dk, stride, rows=None, columns=None):
    features = conv(x, kernel)[:, ::stride, ::stride]
    x = x[:, ::stride, ::stride]
    n, h, w, _ = x.shape
    qkv = (x @ wqkv).reshape(n, h * w, -1)

    def split(t):
        return t.reshape(n, h * w, heads, -1).transpose(0, 2, 1, 3)

    q = split(qkv[..., :dk]) * (dk // heads) ** -0.5
    k, v = split(qkv[..., dk : 2 * dk]), split(qkv[..., 2 * dk :])
    s = q @ k.swapaxes(-1, -2)
    if rows is not None:
        i, j = np.divmod(np.arange(h * w), w)
        i, j = i[None] - i[:, None] + h - 1, j[None] - j[:, None] + w - 1
        s = s + np.einsum("bhpd,pqd->bhpq", q, rows[i])
        s = s + np.einsum("bhpd,pqd->bhpq", q, columns[j])
    o = (softmax(s, -1) @ v).transpose(0, 2, 1, 3).reshape(n, h, w, -1)
    return np.concatenate([features, o @ wo], -1)


def grouped(x, kernel, groups=1, dilation=1, stride=1):
    parts = [
        conv(part, weights, dilation=dilation)
        for part, weights in zip(
            np.split(x, groups, -1), np.split(kernel, groups, -1)
        )
    ]
    return np.concatenate(parts, -1)[:, ::stride, ::stride]


def sk(x, paths, w1, bn, w2, groups, stride):
    """Paths are the dilation, the kernel and the norm of each."""
    u = [
        relu(norm(grouped(x, kernel, groups, dilation, stride), *path_bn))
        for dilation, kernel, path_bn in paths
    ]
    z = relu(norm(sum(u).mean((1, 2)) @ w1, *bn))
    a = softmax((z @ w2).reshape(len(x), len(u), -1), 1)
    return sum(a[:, i, None, None] * part for i, part in enumerate(u))


def split_attention(x, k, bn, w1, b1, bn1, w2, b2, radix, groups, stride):
    u = relu(norm(grouped(x, k, radix * groups, stride=stride), *bn))
    u = np.split(u, radix, -1)
    z = grouped(sum(u).mean((1, 2), keepdims=True), w1, groups) + b1
    z = grouped(relu(norm(z, *bn1)), w2, groups) + b2
    z = z.reshape(len(x), groups, radix, -1)
    a = softmax(z, 2) if radix > 1 else sigmoid(z)
    a = a.swapaxes(1, 2).reshape(len(x), radix, -1)
    return sum(a[:, i, None, None] * part for i, part in enumerate(u))


def res2net(x, stages, chained, stride):
    *slices, last = np.split(x, len(stages) + 1, -1)
    outputs = []
    for part, (kernel, bn) in zip(slices, stages):
        if chained and outputs:
            part = part + outputs[-1]
        part = conv(part, kernel)[:, ::stride, ::stride]
        outputs.append(relu(norm(part, *bn)))
    if not chained:
        last = conv(last, np.ones((3, 3, 1, 1)) * np.eye(last.shape[-1]) / 9)
        last = last[:, ::stride, ::stride]
    return np.concatenate([*outputs, last], -1)


def hs(x, stages):
    first, *slices = np.split(x, len(stages) + 1, -1)
    outputs, handed = [first], first[..., :0]
    for part, (kernel, bn) in zip(slices, stages):
        z = conv(np.concatenate([part, handed], -1), kernel)
        z = relu(norm(z, *bn))
        half = z.shape[-1] - z.shape[-1] // 2
        outputs.append(z[..., :half])
        handed = z[..., half:]
    return np.concatenate([*outputs, handed], -1)


def attention_branch(x, bn, w1, bn1, k, bn_map, w2):
    t = relu(norm(norm(x, *bn) @ w1, *bn1))
    return sigmoid(norm(conv(t, k), *bn_map)), (t @ w2).mean((1, 2))


def gsop(x, w1, b1, bn, bn_rows, rows, b_rows, w2, b2, stride=1):
    z = relu(norm(relu(x[:, ::stride, ::stride]) @ w1 + b1, *bn))
    z = z.reshape(len(z), -1, z.shape[-1])
    gates = []
    for image in z:
        s = np.cov(image.T, bias=True)
        s = norm(s, *(np.reshape(v, (-1, 1)) for v in bn_rows))
        numbers = [s[i] @ rows[i] + b_rows[i] for i in range(len(s))]
        gates.append(sigmoid(np.concatenate(numbers) @ w2 + b2))
    return x * np.array(gates)[:, None, None]


def position_attention(x, wq, bq, wk, bk, wv, bv, gamma):
    p = x.reshape(len(x), -1, x.shape[-1])
    logits = (p @ wq + bq) @ (p @ wk + bk).swapaxes(1, 2)
    y = softmax(logits, 2) @ (p @ wv + bv)
    return x + gamma * y.reshape(x.shape)


def channel_attention(x, gamma):
    p = x.reshape(len(x), -1, x.shape[-1])
    products = p.swapaxes(1, 2) @ p
    weights = softmax(products.max(2, keepdims=True) - products, 2)
    return x + gamma * (p @ weights.swapaxes(1, 2)).reshape(x.shape)
