"""What a command of a recipe hands over in one training."""

import types

from keras_epsanet import training


class SeenTraining(types.SimpleNamespace):
    """What the command hands over in one training."""

    def callbacks(self, kind):
        return [c for c in self.fit["callbacks"] if isinstance(c, kind)]

    @property
    def optimizer(self):
        optimizer = self.trained.optimizer
        return getattr(optimizer, "inner_optimizer", optimizer)

    def schedule(self, name):
        """A setting of both the optimizer's schedule and the log's."""
        used = self.optimizer.get_config()["learning_rate"]["config"]
        (log,) = self.callbacks(training.EpochLog)
        assert log.schedule.get_config() == used
        return used[name]
