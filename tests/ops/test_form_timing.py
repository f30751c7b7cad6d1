import numpy as np
import pytest

from keras_epsanet.ops import form_timing, forms
from keras_epsanet.ops.forms import NO_TILES, Forms, Problem

PROBLEM = Problem((3, 3, 2, 8), (1, 1), 4, (12, 10))
BEFORE = Forms((2, 2), (2, 2))


def find(problem):
    kernel = np.zeros(problem.kernel_shape, problem.dtype)
    return forms.find(kernel, *problem[1:4], lanes=8)


@pytest.fixture
def seconds_of(monkeypatch):
    """Makes each form take the seconds that a function says."""

    def use(seconds):
        compiled = []

        def compile_steps(problem, *arrays):
            found = find(problem)
            compiled.append((found, [x.shape for x in arrays]))
            return [
                lambda: ("forward", found.outputs),
                lambda: ("step", found),
            ]

        monkeypatch.setattr(form_timing, "_compile", compile_steps)
        monkeypatch.setattr(
            form_timing,
            "least_times",
            lambda runs, _: [seconds(*run()) for run in runs],
        )
        return compiled

    yield use
    forms.forget()


def test_the_fastest_is_taken_forward_and_in_a_step(seconds_of):
    def seconds(which, form):
        fast = {
            "forward": (4, 2),
            "step": Forms((4, 2), (1, 4)),
        }
        return 0.5 if form == fast[which] else 1.0

    compiled = seconds_of(seconds)
    found = form_timing.fastest(PROBLEM, BEFORE, 3, 1.0)
    assert found == (Forms((4, 2), (1, 4)), 0.5, 0.5)
    # Of a step, only beside the outputs' form that was found, and the former.
    steps = [form for form, _ in compiled if form.kernel_gradient != (2, 2)]
    assert {form.outputs for form in steps} == {(4, 2)}
    tried = set(forms.candidates(PROBLEM))
    assert {form.outputs for form, _ in compiled} == tried
    assert compiled[0][1] == [(3, 12, 10, 8), (3, 3, 2, 8), (3, 12, 10, 8)]
    # Nothing is chosen yet.
    assert find(PROBLEM).outputs == (2, 2)


def test_a_backend_that_asks_at_every_run_gets_the_form_to_time(monkeypatch):
    monkeypatch.setattr(
        form_timing,
        "_compile",
        lambda problem, *_: [
            lambda: find(problem).outputs,
            lambda: find(problem),
        ],
    )
    fast = (4, 2), Forms((4, 2), (1, 4))
    monkeypatch.setattr(
        form_timing,
        "least_times",
        lambda runs, _: [0.5 if run() in fast else 1.0 for run in runs],
    )
    assert form_timing.fastest(PROBLEM, BEFORE, 3, 1.0)[0] == fast[1]
    assert find(PROBLEM).outputs == (2, 2)


@pytest.mark.parametrize("gain, outputs", [(0.99, (2, 2)), (0.97, NO_TILES)])
def test_what_gains_next_to_nothing_stays_as_it_was(seconds_of, gain, outputs):
    seconds_of(
        lambda which, form: (
            gain if form in (NO_TILES, Forms(NO_TILES, (2, 2))) else 1.0
        )
    )
    found, forward, _ = form_timing.fastest(PROBLEM, BEFORE, 1, 1.0)
    assert found == Forms(outputs, (2, 2))
    assert forward == (1.0 if outputs == (2, 2) else gain)


def test_nothing_is_compiled_where_there_is_no_choice(seconds_of):
    compiled = seconds_of(lambda *_: 1.0)
    pointwise = Problem((1, 1, 2, 8), (1, 1), 4, (12, 10))
    before = Forms(NO_TILES, NO_TILES)
    found = form_timing.fastest(pointwise, before, 1, 1.0)
    assert found == (before, 1.0, 1.0) and not compiled


def test_strides_make_the_image_as_much_larger(seconds_of):
    compiled = seconds_of(lambda *_: 1.0)
    problem = Problem((3, 3, 2, 8), (2, 3), 4, (12, 10))
    form_timing.fastest(problem, BEFORE, 1, 1.0)
    assert compiled[0][1][0] == (1, 24, 30, 8)


def test_the_least_of_several_times_counts(monkeypatch):
    clock = iter(np.cumsum([0, 1, 9, 1, 8, 1, 7, 1, 2, 1, 6, 1, 5, 1, 9]))
    monkeypatch.setattr(form_timing.time, "perf_counter", lambda: next(clock))
    ran = []
    runs = [lambda: ran.append("a"), lambda: ran.append("b")]
    # All of them three times, though the seconds are over.
    least = form_timing.least_times(runs, 0.0)
    assert ran == ["a", "b"] * 3
    np.testing.assert_array_equal(least, [6, 2])


def test_a_convolution_is_compiled_and_timed():
    found, forward, step = form_timing.fastest(
        Problem((3, 3, 2, 8), (1, 1), 4, (4, 4)), BEFORE, 1, 0.01
    )
    assert isinstance(found, Forms) and 0 < forward <= 1 and 0 < step <= 1
