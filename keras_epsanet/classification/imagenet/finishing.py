"""What is left when a training on ImageNet ends: weights and their sums."""


def export(network, model, average, run, state, recalibrate):
    """Saves the network as it is in the end and after its best epoch.

    Args:
        network: The network within the model.
        model: What was trained. It has the weights of the best epoch then.
        average: `WeightAverage` of the model, or `None`.
        run: `RunFolder`.
        state: `State` at the end.
        recalibrate: Function that takes the BatchNorm statistics of the
            model anew and returns its top-1 accuracy, from 0 to 1, or `None`
            if the recipe does not ask for it. The best weights are saved
            with them if they are as good.
    """
    sums = {}
    if average:
        average.swap_in()
    sums["last.weights.h5"] = run.export(network, "last.weights.h5")
    value = None
    if state.best_step is not None:
        _take_best(model, average, run, state)
        value = recalibrate()
        if value is not None and value < state.best_value:
            _take_best(model, average, run, state)
        sums["best.weights.h5"] = run.export(network, "best.weights.h5")
    if run.is_chief:
        lines = [f"{digits}  {name}\n" for name, digits in sums.items()]
        print(f"Saved in {run.path}:\n{''.join(lines)}", end="")
        if state.best_step is not None:
            epoch = state.best_step // state.steps_per_epoch
            print(f"Best: epoch {epoch}, top-1 {state.best_value:.2%}")
            if value is not None:
                print(f"With its BatchNorms recalibrated: {value:.2%}")


def _take_best(model, average, run, state):
    run.restore(model, state.steps_per_epoch, state.best_step, average=average)
    if average:
        average.swap_in()
