from equations import coordinate, values

from keras_epsanet.attention import CoordinateAttention


def test_equation(check_equation, size, dtype):
    def equation(x, layer):
        stages = (layer.fc, layer.fc_rows, layer.fc_columns)
        fc, rows, columns = (values(fc.kernel, fc.bias) for fc in stages)
        return coordinate(x, *fc, *values(layer.norm), *rows, *columns)

    check_equation(
        lambda **kwargs: CoordinateAttention(2, **kwargs),
        equation,
        (2, *size, 24),
        dtype,
    )


def test_eight_channels_are_left_at_least():
    for channels, units in ((16, 8), (512, 16)):
        layer = CoordinateAttention()
        layer.build((None, 4, 4, channels))
        assert layer.fc.units == units


def test_arguments_and_training(check_contract):
    check_contract(CoordinateAttention, reduction=32)
