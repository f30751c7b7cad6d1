import pytest

from keras_epsanet.commands import convert
from keras_epsanet.data.imagenet import tfrecords

INDEX = {
    "left_out": {".txt": 2},
    **{split: [5] for split in ("train", "val")},
    **{
        f"{x}_{y}": []
        for x in ("train", "val")
        for y in ("bad", "encoded_anew")
    },
}


def test_arguments_reach_the_conversion(monkeypatch, capsys):
    asked = {}
    monkeypatch.setattr(
        tfrecords, "convert", lambda **options: asked.update(options) or INDEX
    )
    convert.main(["A", "B", "--workers", "3", "--quality", "90"])
    assert asked["source"] == "A" and asked["output"] == "B"
    assert asked["workers"] == 3 and asked["quality"] == 90
    assert "left out: 2 files (.txt)" in capsys.readouterr().out


def test_an_error_ends_with_a_line(tmp_path):
    with pytest.raises(SystemExit, match=f"^mine: .*{tmp_path}/none"):
        convert.main([f"{tmp_path}/none", f"{tmp_path}/output"], "mine")


def test_ctrl_c_ends_with_a_line(monkeypatch, capsys):
    def interrupt(**options):
        raise KeyboardInterrupt

    monkeypatch.setattr(tfrecords, "convert", interrupt)
    with pytest.raises(SystemExit) as caught:
        convert.main(["A", "B"], "mine")
    assert caught.value.code == 130
    assert "mine: interrupted. The same" in capsys.readouterr().err
