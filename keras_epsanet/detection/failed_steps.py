"""Models whose weights survive a batch that is refused, on every backend."""

import keras

from keras_epsanet.distribution.replicas import worker


class SurvivingModel(keras.Model):
    """Can be trained with a good batch after one that was refused.

    On JAX Keras takes the values out of the variables before a step, to have
    them once in memory, and only a step that ends puts them back: here one
    that fails does, too. On TensorFlow the first step makes the variables of
    the optimizer, but only the first that is tried: here they are made before.
    And the parts of a batch that several workers have may differ in size.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # All is built. Keras would take the mean of the workers' images to
        # learn their shapes.
        if worker(getattr(self, "distribute_strategy", None))[1] == 1:
            super()._maybe_symbolic_build(iterator, data_batch)

    def make_train_function(self, force=False):
        optimizer = self.optimizer
        if keras.backend.backend() == "tensorflow" and not optimizer.built:
            with self.distribute_strategy.scope():
                optimizer.build(self.trainable_variables)
        self._make("train_function", super().make_train_function, force)

    def make_test_function(self, force=False):
        self._make("test_function", super().make_test_function, force)

    def make_predict_function(self, force=False):
        self._make("predict_function", super().make_predict_function, force)

    def _make(self, name, make, force):
        before = getattr(self, name, None)
        made = make(force)
        function = getattr(self, name)
        if keras.backend.backend() == "jax" and function is not before:
            setattr(self, name, self._surviving(function))
        return made

    def _surviving(self, function):
        def step(state, iterator):
            try:
                return function(state, iterator)
            except StopIteration:
                raise  # Of data that have ended.
            except BaseException:
                self._take_back(state)
                raise

        return step

    def _take_back(self, state):
        variables = [self.trainable_variables, self.non_trainable_variables]
        if len(state) == 4:
            variables.append(self.optimizer.variables)
        if len(state) > 2:
            variables.append(self.metrics_variables)
        for references, values in zip(variables, state, strict=True):
            for reference, value in zip(references, values, strict=True):
                if not value.is_deleted():  # Given to a step that began.
                    reference.assign(value)
