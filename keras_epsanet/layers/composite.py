"""What the layers that are made of layers have in common."""

import keras
import numpy as np
from keras.dtype_policies import DTypePolicyMap

# What may differ between a sublayer and the layer around it.
_STATE = (
    "trainable",
    "dtype",
    "lora_rank",
    "lora_alpha",
    "quantization_config",
    "sublayers",
)


class CompositeLayer(keras.layers.Layer):
    """Layer whose sublayers are configured and saved with it.

    A new sublayer has the dtype policy of the layer and trains if the layer
    does; a dtype policy that is set later reaches all sublayers. A sublayer
    can be frozen, quantized or given LoRA by itself: `get_config` has an
    entry `sublayers` where one of them differs from the layer.

    Args:
        kernel_initializer: Initializer of the kernels of the sublayers,
            other numbers for each of them. `None` means their own default.
        kernel_regularizer: Optional regularizer of each kernel.
        kernel_constraint: Optional constraint of each kernel.
        **kwargs: Arguments of `keras.layers.Layer`, and `sublayers` of
            `get_config`.

    Raises:
        ValueError: If the dtype policy is a quantized one.
    """

    def __init__(
        self,
        kernel_initializer=None,
        kernel_regularizer=None,
        kernel_constraint=None,
        **kwargs,
    ):
        states = kwargs.pop("sublayers", {})
        super().__init__(**kwargs)
        self._check_policy(self.dtype_policy)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self._sublayer_states = {
            name: dict(state) for name, state in states.items()
        }

    def make_sublayer(self, cls, name, **arguments):
        """Returns a new sublayer, for an attribute of the layer.

        Args:
            cls: Class of the sublayer.
            name: String, its name.
            **arguments: Other arguments of its class.
        """
        arguments.update(
            name=name, trainable=self.trainable, dtype=self.dtype_policy
        )
        if name not in self._sublayer_states:
            return cls(**arguments)
        return cls.from_config({**arguments, **self._sublayer_states[name]})

    def kernel_arguments(self, part, default=None):
        """Returns the arguments of a sublayer that concern its kernel.

        Args:
            part: Integer, different for every sublayer. The same initializer
                instance, or others with the same seed, would give the
                sublayers equal weights.
            default: Initializer in place of `None`.
        """
        return {
            "kernel_initializer": (
                initializer_of_part(self.kernel_initializer, part) or default
            ),
            "kernel_regularizer": self.kernel_regularizer,
            "kernel_constraint": self.kernel_constraint,
        }

    def _sublayers(self):
        return self._flatten_layers(include_self=False, recursive=False)

    @property
    def trainable(self):
        return super().trainable

    @trainable.setter
    def trainable(self, value):
        keras.layers.Layer.trainable.fset(self, value)
        for state in self._sublayer_states.values():
            state.pop("trainable", None)

    @property
    def dtype_policy(self):
        return super().dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value):
        policy = keras.dtype_policies.get(value)
        self._check_policy(policy)
        keras.layers.Layer.dtype_policy.fset(self, policy)
        for layer in self._sublayers():
            old = layer.dtype_policy
            if isinstance(old, DTypePolicyMap):
                old = old[layer.path or ""]
            layer.dtype_policy = _quantized_as(old, policy)
        for state in self._sublayer_states.values():
            if "dtype" in state:
                old = keras.dtype_policies.deserialize(state["dtype"])
                state["dtype"] = keras.dtype_policies.serialize(
                    _quantized_as(old, policy)
                )

    def _check_policy(self, policy):
        if policy.quantization_mode is not None:
            raise ValueError(
                f"Only a part of {self.__class__.__name__} can be quantized: "
                "call `quantize` once it is built. "
                f"Received: dtype={policy.name!r}"
            )
        if self.built and policy.variable_dtype != self.variable_dtype:
            raise ValueError(
                f"{self.name} is built and keeps its {self.variable_dtype} "
                "variables: set such a dtype policy before. "
                f"Received: dtype={policy.name!r}"
            )

    def quantize(self, mode=None, type_check=True, config=None):
        """Quantizes the dense sublayers, as `keras.Model.quantize` does.

        Args:
            mode: String, such as `"int8"`: the modes of
                `keras.layers.Dense`.
            type_check: Whether subclasses of Keras' layers are left alone.
            config: Optional `keras.quantizers.QuantizationConfig`.

        Raises:
            NotImplementedError: If there is no such sublayer.
        """
        refused = []
        if not list(self._sublayers()):
            super().quantize(mode, type_check=type_check, config=config)
        for layer in self._sublayers():
            try:
                layer.quantize(mode, type_check=type_check, config=config)
            except NotImplementedError as error:
                refused.append(error)
        if len(refused) == len(list(self._sublayers())):
            raise refused[0]
        if keras.backend.backend() == "torch":
            self._track_variables()  # Or PyTorch keeps the old ones.

    def get_config(self):
        config = super().get_config()
        config.update(
            kernel_initializer=keras.initializers.serialize(
                self.kernel_initializer
            ),
            kernel_regularizer=keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            kernel_constraint=keras.constraints.serialize(
                self.kernel_constraint
            ),
        )
        states = dict(self._sublayer_states)
        for layer in self._sublayers():
            of_layer = layer.get_config()
            states[layer.name] = {
                key: of_layer[key]
                for key in _STATE
                if key in of_layer and of_layer[key] != config.get(key)
            }
        states = {name: state for name, state in states.items() if state}
        if states:
            config["sublayers"] = states
        return config


def _quantized_as(old, policy):
    """Returns the new policy, quantized as the old one was."""
    if old.quantization_mode is None or isinstance(policy, DTypePolicyMap):
        return policy
    return old.from_config({**old.get_config(), "source_name": policy.name})


def initializer_of_part(initializer, part):
    """Returns the initializer with a seed of its own for this part.

    Args:
        initializer: Keras initializer, or what else initializes.
        part: Integer, different for every kernel. The same instance, or
            others with the same seed, would give them equal weights.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    config = initializer.get_config()
    seed = config.get("seed", "none")
    if isinstance(seed, int):
        sequence = np.random.SeedSequence((seed % 2**32, part))
        config["seed"] = int(sequence.generate_state(1)[0])
    elif seed is not None:
        # There is no seed, or a generator, which draws on and on.
        return initializer
    return initializer.from_config(config)
