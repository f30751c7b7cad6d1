import keras
import pytest

from keras_epsanet.attention import SE
from keras_epsanet.models.attention_slot import AttentionSlot
from keras_epsanet.models.parts import Parts


def parts(data_format="channels_last", attention=None):
    return Parts(
        prefix="",
        dtype="float64",
        data_format=data_format,
        synchronized=False,
        norm_eval=True,
        downsampling="convolution",
        attention=attention,
        num_blocks=(1, 2),
        classes=7,
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_layers_have_what_the_network_has(data_format):
    made = parts(data_format)
    for value in (False, True):
        norm = made._replace(synchronized=value).normalization
        assert norm.keywords["synchronized"] is value
    convolution = made.convolution(4, 3)
    assert convolution.data_format == data_format
    assert convolution.dtype_policy.name == "float64"
    norm = made.normalization()
    assert norm.axis == (-1 if data_format == "channels_last" else 1)
    assert norm.norm_eval and norm.dtype_policy.name == "float64"
    assert made.relu().dtype_policy.name == "float64"


@pytest.mark.parametrize(
    "data_format, shape",
    [("channels_last", (9, 6, 32)), ("channels_first", (32, 9, 6))],
)
def test_a_place_has_the_size_of_what_comes_out(data_format, shape):
    made = parts(data_format)
    place = made.place(keras.Input(shape), 2, 1)
    assert place == (32, 2, 1, (1, 2), 1, (9, 6), 7)
    place = made.place(keras.Input(shape), 2, 1, channels=5, strides=2)
    assert place == (5, 2, 1, (1, 2), 2, (5, 3), 7)


def test_attention_is_applied_in_its_slot_and_place():
    made = parts(attention=AttentionSlot(SE(reduction=2), "output", [2]))
    x = keras.Input((9, 6, 32))
    first, second = made.place(x, 1, 1), made.place(x, 2, 2)
    assert made.attend(x, "residual", second, "a") is x
    assert made.attend(x, "output", first, "a") is x
    y = made.attend(x, "output", second, "a")
    assert keras.Model(x, y).layers[-1].name == "a_attention"
    assert y.dtype == "float64"
    assert parts().attend(x, "output", second, "a") is x
