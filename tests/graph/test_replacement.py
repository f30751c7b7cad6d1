from keras_epsanet.graph.replacement import (
    Left,
    Replaced,
    Replacement,
    by_reason,
)


def test_reasons_name_some_of_their_layers():
    left = [Left(name, "small") for name in "abcd"] + [Left("e", "large")]
    assert by_reason(left) == ["4: small (a, b, c, …)", "1: large (e)"]


def test_summary():
    report = Replacement(
        (Replaced("a", "conv", "PSA"), Replaced("long", "conv", "PSA")),
        (Left("b", "small"),),
        (1000, 900),
        (2000, 1800),
    )
    assert str(report).splitlines() == [
        "replaced 2 of 3 convolutions",
        "  a     conv → PSA",
        "  long  conv → PSA",
        "left 1",
        "  1: small (b)",
        "trainable parameters 1,000 → 900",
        "multiply-adds 2,000 → 1,800",
    ]


def test_summary_without_what_is_not_known():
    lines = str(Replacement((), (), (1, 1))).splitlines()
    assert lines[0] == "replaced 0 of 0 convolutions"
    assert lines[-1] == "multiply-adds not counted: sizes are left open"
