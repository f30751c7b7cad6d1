import json

import pytest

from keras_epsanet.data.coco.part_files import write_parts

PARTS = {"train": {"images": [1]}, "val": {"images": [2]}}
WHOLE = {"images": [1, 2]}


@pytest.mark.parametrize(
    "parts, part, expected",
    [
        (PARTS, None, {"a_train.json": "train", "a_val.json": "val"}),
        # Of what is written part by part nothing is written twice.
        (
            {**PARTS, "all": WHOLE},
            None,
            {"a_train.json": "train", "a_val.json": "val"},
        ),
        ({"all": WHOLE}, None, {"a.json": "all"}),
        (PARTS, "val", {"a.json": "val"}),
        ({**PARTS, "all": WHOLE}, "all", {"a.json": "all"}),
    ],
)
def test_each_part_has_a_file(tmp_path, parts, part, expected):
    written = write_parts(tmp_path / "a.json", parts, part)
    assert written == [str(tmp_path / name) for name in expected]
    assert {x.name for x in tmp_path.iterdir()} == set(expected)
    for name, part in expected.items():
        assert json.loads((tmp_path / name).read_text()) == parts[part]


@pytest.mark.parametrize("part", ["all", "test", ""])
def test_a_part_that_is_not_there_is_refused(tmp_path, part):
    allowed = rf"one of train, val, or None .*Received: part='{part}'$"
    with pytest.raises(ValueError, match=allowed):
        write_parts(tmp_path / "a.json", PARTS, part)
    assert not list(tmp_path.iterdir())
