"""Classifiers that are trained with the logits of an attention branch too."""

import keras


@keras.saving.register_keras_serializable(package="keras_epsanet")
class BranchedClassifier(keras.Model):
    """Model of two outputs for the same labels, judged by the first.

    `fit` minimizes the sum of both losses, as ABN is trained; what is logged
    of an evaluation, and every metric, is that of the first output.

    Args:
        inputs, outputs, name: As of `keras.Model`. The outputs are a list of
            the network's logits and those of its branch.

    Example:

    >>> import keras_epsanet
    >>> network = keras_epsanet.ResNet(
    ...     (1, 1), (16, 16), attention="abn", branch_output=True,
    ...     input_shape=(32, 32, 3), classes=10, classifier_activation=None)
    >>> model = BranchedClassifier(network.inputs, network.outputs)
    >>> model.compile("sgd", keras.losses.CategoricalCrossentropy(True))
    >>> x, y = keras.ops.ones((2, 32, 32, 3)), keras.ops.eye(2, 10)
    >>> model.train_on_batch(x, y, return_dict=True).keys()
    dict_keys(['loss'])
    """

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        main, branch = (
            super(BranchedClassifier, self).compute_loss(
                x, y, logits, sample_weight, training
            )
            for logits in y_pred
        )
        return main + branch if training else main

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred[0], sample_weight)
