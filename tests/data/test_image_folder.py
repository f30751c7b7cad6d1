import os
import warnings

import keras
import numpy as np
import pytest

from keras_epsanet import data


def write_image(path, value=0, size=(5, 7), channels=3):
    """Writes a plain image, whose value identifies it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((*size, channels), value)
    keras.utils.save_img(path, image, scale=False)


@pytest.fixture
def folder(tmp_path):
    """Twenty images of values 0, 1, ... in each of two classes."""
    for i in range(20):
        write_image(tmp_path / "pears" / f"{i:02}.png", 100 + i)
        write_image(tmp_path / "apples" / f"{i:02}.png", i)
    return tmp_path


def values_and_labels(dataset):
    return [
        (int(image[0, 0, 0]), int(label))
        for image, label in dataset.as_numpy_iterator()
    ]


def test_images_carry_the_class_of_their_folder(folder):
    dataset = data.image_folder(folder)
    assert dataset.class_names == ["apples", "pears"]
    assert dataset.num_images == 40
    expected = [(i, 0) for i in range(20)] + [(100 + i, 1) for i in range(20)]
    assert sorted(values_and_labels(dataset)) == expected


def test_order_is_mixed_and_always_the_same(folder):
    dataset = data.image_folder(folder)
    first = values_and_labels(dataset)
    assert {label for _, label in first[:10]} == {0, 1}
    assert values_and_labels(dataset) == first
    assert values_and_labels(data.image_folder(str(folder))) == first


def test_subsets_part_every_class(folder):
    write_image(folder / "quinces" / "1.png", 200)
    write_image(folder / "quinces" / "2.png", 201)
    train, held_out = (
        values_and_labels(data.image_folder(folder, subset=subset))
        for subset in ("train", "held_out")
    )
    everything = values_and_labels(data.image_folder(folder))
    assert sorted(train + held_out) == sorted(everything)
    labels = [label for _, label in held_out]
    assert np.bincount(labels).tolist() == [4, 4, 1]


@pytest.mark.parametrize(
    "share, chosen",
    [
        (0.2, [1, 6, 11, 16]),
        (np.float32(0.2), [1, 6, 11, 16]),
        (float(np.float32(0.2)), [1, 6, 11, 16]),
        (0.1, [1, 11]),
        (0.3, [1, 4, 7, 11, 14, 17]),
        (0.5, range(1, 20, 2)),
        (0.95, range(1, 20)),
        (0.001, [1]),
    ],
)
def test_share_that_is_held_out_is_of_every_class(folder, share, chosen):
    train, held_out = (
        values_and_labels(data.image_folder(folder, subset, share))
        for subset in ("train", "held_out")
    )
    expected = {(i, 0) for i in chosen} | {(100 + i, 1) for i in chosen}
    assert len(held_out) == 2 * len(chosen) and set(held_out) == expected
    everything = values_and_labels(data.image_folder(folder))
    assert sorted(train + held_out) == sorted(everything)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_shares_without_two_parts_are_refused(folder, share):
    with pytest.raises(ValueError, match=f"between 0 and 1.*share={share}$"):
        data.image_folder(folder, "train", held_out_share=share)


def test_images_of_folders_in_a_class_are_read(folder):
    write_image(folder / "apples" / "more" / "1.png", 50)
    (folder / "apples" / "notes.txt").write_text("none")
    dataset = data.image_folder(folder)
    assert (50, 0) in values_and_labels(dataset)
    assert dataset.num_images == 41
    assert dataset.left_out == {".txt": 1}


def test_images_are_upright(folder):
    from PIL import Image

    note = Image.Exif()
    note[0x0112] = 6
    image = Image.new("RGB", (7, 5), (250, 0, 0))
    image.save(folder / "apples" / "held.jpg", exif=note.tobytes())
    shapes = {x.shape for x, _ in data.image_folder(folder).as_numpy_iterator()}
    assert shapes == {(5, 7, 3), (7, 5, 3)}


def test_names_of_files_need_not_be_text(folder):
    write_image(folder / "apples" / "a.png", 50)
    apples = os.path.join(os.fsencode(folder), b"apples")
    os.rename(apples + b"/a.png", apples + b"/\xfc.png")
    with open(apples + b"/text\xfc.png", "w") as file:
        file.write("no image")
    dataset = data.image_folder(folder)
    with pytest.warns(UserWarning, match=r"text\\xfc.png cannot be decoded"):
        assert (50, 0) in values_and_labels(dataset)
    (undecodable,) = dataset.undecodable
    assert undecodable.endswith(r"text\xfc.png")


@pytest.mark.parametrize(
    "name, channels",
    [
        ("a.png", 3),
        ("a.png", 1),
        ("a.png", 4),
        ("a.jpg", 3),
        ("a.jpg", 1),
        ("a.JPEG", 3),
        ("a.bmp", 3),
        ("a.gif", 3),
        ("a.webp", 3),
        ("a.webp", 4),
    ],
)
def test_formats_become_rgb(tmp_path, name, channels):
    write_image(tmp_path / "a" / name, 40, (6, 9), channels)
    write_image(tmp_path / "b" / name, 40, (3, 2), channels)
    for image, label in data.image_folder(tmp_path).as_numpy_iterator():
        assert image.shape == [(6, 9, 3), (3, 2, 3)][label]
        assert image.dtype == "uint8"
        np.testing.assert_allclose(image, 40, atol=2)


def test_animation_gives_its_first_frame(folder):
    from PIL import Image

    frames = [Image.new("RGB", (4, 4), (v, v, v)) for v in (250, 50)]
    path = folder / "apples" / "a.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert (250, 0) in values_and_labels(data.image_folder(folder))


def test_hidden_and_other_files_are_ignored(folder):
    write_image(folder / ".cache" / "1.png")
    write_image(folder / "apples" / "._1.png")
    (folder / "apples" / "notes.txt").write_text("none")
    (folder / "readme.txt").write_text("none")
    dataset = data.image_folder(folder)
    assert dataset.class_names == ["apples", "pears"]
    assert dataset.num_images == 40


def test_undecodable_images_are_named_skipped_and_counted_once(folder):
    text, half = folder / "apples" / "text.jpg", folder / "pears" / "half.png"
    text.write_text("no image")
    half.write_bytes((folder / "pears" / "00.png").read_bytes()[:40])
    dataset = data.image_folder(folder)
    assert dataset.undecodable == []
    with pytest.warns(UserWarning) as caught:
        assert len(values_and_labels(dataset)) == 40
    assert sorted(dataset.undecodable) == [str(text), str(half)]
    messages = sorted(str(warning.message) for warning in caught)
    assert len(messages) == 2
    assert f"{text} cannot be decoded as an image: Unknown" in messages[0]
    assert f"{half} cannot be decoded" in messages[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(values_and_labels(dataset.repeat(2).shuffle(9))) == 80
    assert len(dataset.undecodable) == 2


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="exists. Received: path=.*nothing"):
        data.image_folder(tmp_path / "nothing")


@pytest.mark.parametrize("names", [[], ["apples"]])
def test_fewer_than_two_classes_are_refused(tmp_path, names):
    for name in names:
        write_image(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match="two classes or more. Received"):
        data.image_folder(tmp_path)


def test_classes_without_images_are_named(folder):
    (folder / "figs").mkdir()
    (folder / "dates").mkdir()
    (folder / "dates" / "a.txt").write_text("none")
    with pytest.raises(ValueError, match="none in dates, figs$"):
        data.image_folder(folder)


def test_nothing_to_hold_out_is_refused(tmp_path):
    write_image(tmp_path / "a" / "1.png")
    write_image(tmp_path / "b" / "1.png")
    assert data.image_folder(tmp_path, subset="train").num_images == 2
    with pytest.raises(ValueError, match="at least two.*subset=held_out"):
        data.image_folder(tmp_path, subset="held_out")


def test_unknown_subset_is_refused(folder):
    with pytest.raises(ValueError, match='"train" or "held_out".*subset=val'):
        data.image_folder(folder, subset="val")


def test_decode_image_names_a_missing_file(tmp_path):
    path = str(tmp_path / "none.png")
    with pytest.raises(ValueError, match=f"{path} cannot be decoded"):
        data.decode_image(path)
