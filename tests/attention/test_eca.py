import pytest
from equations import eca, values

from keras_epsanet.attention import ECA


def test_equation(check_equation, size, dtype):
    check_equation(
        lambda **kwargs: ECA(5, **kwargs),
        lambda x, layer: eca(x, *values(layer.conv.kernel)),
        (2, *size, 16),
        dtype,
    )


@pytest.mark.parametrize(
    "channels, size",
    [(2, 1), (8, 3), (64, 3), (128, 5), (256, 5), (1024, 5), (2048, 7)],
)
def test_kernel_by_the_rule_of_the_paper(channels, size):
    layer = ECA()
    layer.build((None, 4, 4, channels))
    assert layer.count_params() == size
    assert layer.kernel_size is None


@pytest.mark.parametrize(
    "sizes, parameters", [((3, 5, 5, 7), 80), ((3, 3, 5, 7), 157)]
)
def test_parameters_of_the_published_weights(sizes, parameters):
    blocks = (3, 4, 6, 3) if parameters == 80 else (3, 4, 23, 3)
    assert sum(k * n for k, n in zip(sizes, blocks)) == parameters


def test_arguments_and_training(check_contract):
    check_contract(ECA, kernel_size=None)
