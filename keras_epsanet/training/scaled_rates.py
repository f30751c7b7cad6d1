"""Learning rates of their own for some of the variables."""

import warnings

from keras_epsanet.training import recipe_fields as kinds
from keras_epsanet.training.variable_paths import find_by_path, path_of


class ScaledRates:
    """What an optimizer inherits from to have `scale_rate`.

    It comes first among the base classes. The optimizer takes the rate of a
    variable from `rate_of`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._scaled_rates = ()
        self._factors = {}

    def scale_rate(self, var_list, factor):
        """Multiplies the learning rate of some parameters.

        To be called before the optimizer is built, which `fit` does at its
        start. It replaces what was scaled before, and is saved.

        Args:
            var_list: List of variables. Once loaded, they are known by their
                paths, such as `"conv1_bn/gamma"`.
            factor: Positive float, such as 0.1 for a trained backbone.

        Raises:
            ValueError: If the optimizer is built already, or `factor` is not
                positive.
        """
        if self.built:
            raise ValueError(
                "Rates must be scaled before the optimizer is built, thus "
                "before `fit` or `build`. "
                f"Received: {len(var_list)} variables, factor={factor}"
            )
        factor = kinds.check("factor", kinds.POSITIVE, factor)
        self._scaled_rates = tuple((path_of(v), factor) for v in var_list)

    def build(self, variables):
        self._factors = {}
        for path, factor in self._scaled_rates:
            found = find_by_path(path, variables)
            if not found:
                warnings.warn(
                    f"No variable has the path {path}, whose learning rate "
                    f"was to be multiplied by {factor}.",
                    stacklevel=2,
                )
            self._factors.update({self._var_key(v): factor for v in found})
        super().build(variables)

    def rate_of(self, variable, rate):
        """Returns the learning rate of a variable, given that of all."""
        factor = self._factors.get(self._var_key(variable), 1.0)
        return rate if factor == 1.0 else rate * factor

    def get_config(self):
        config = super().get_config()
        config["scaled_rates"] = [list(pair) for pair in self._scaled_rates]
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        scaled = config.pop("scaled_rates", ())
        optimizer = super().from_config(config, custom_objects=custom_objects)
        optimizer._scaled_rates = tuple(map(tuple, scaled))
        return optimizer
