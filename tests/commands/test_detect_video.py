"""Objects of the frames of a video, what is drawn, and what is broken."""

import csv
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

from keras_epsanet.commands import detect, detect_video
from keras_epsanet.data import video
from keras_epsanet.detection.detector import Detector

pytest.importorskip("matplotlib")
pytest.importorskip("av")
if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

HEIGHT, WIDTH = 480, 640  # As large as can be read, so drawn as it is.


class Model:
    """Finds a box around what is white."""

    bounding_box_format = "xyxy"
    class_names = ("pear", "fig")
    image_size = HEIGHT, WIDTH
    input_shape = (None, None, None, 3)
    detect = Detector.detect

    def predict(self, batch, batch_size, verbose):
        rows, columns = np.nonzero(batch["images"][0, :HEIGHT, ..., 0] > 1)
        found = len(rows) > 0
        box = np.full(4, -1.0)
        if found:
            box = np.array([columns.min(), rows.min()] * 2, float)
            box[2:] = columns.max() + 1, rows.max() + 1
        return {
            "boxes": box[None, None],
            "labels": np.array([[0]]),
            "confidence": np.array([[0.9]], "float32"),
            "num_detections": np.array([int(found)]),
        }


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(detect, "open_detector", lambda args: Model())


def write(path, frames=3):
    """A white square of 64 pixels, which is absent first, then moves right."""
    with video.VideoWriter(path, 4) as writer:
        for i in range(frames):
            pixels = np.zeros((HEIGHT, WIDTH, 3), "uint8")
            if i:
                pixels[160:224, 96 * i : 96 * i + 64] = 255
            writer.write(pixels)


def run(*options, images=("clip.mp4",)):
    detect.main(["--output", "found", *options, *images])


def test_frames_are_drawn_into_a_video(model, tmp_path, capsys):
    write("clip.mp4")
    run()
    assert [x.name for x in (tmp_path / "found").iterdir()] == ["clip.mp4"]
    with video.VideoReader("found/clip.mp4") as reader:
        assert reader.rate == 4
        frames = [frame.astype(int) for frame in reader]
    assert len(frames) == 3 and frames[0].shape == (HEIGHT, WIDTH, 3)
    assert frames[0].max() < 20
    for i, frame in enumerate(frames[1:], start=1):
        left = 96 * i
        # A colored line around the square, which is at another place.
        colorful = np.ptp(frame, axis=-1) > 60
        columns = np.nonzero(colorful[170:215].any(axis=0))[0]
        assert abs(columns.min() - left) < 5
        assert abs(columns.max() - (left + 64)) < 5
        assert frame[180:200, left + 16 : left + 48].min() > 230
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "clip.mp4" and any("3/3" in line for line in lines)
    assert lines[-2:] == [
        "Saved 3 frames in found/clip.mp4",
        "2 objects in 3 images and frames: pear 2",
    ]


def test_frames_are_drawn_into_pictures(model, tmp_path):
    write("clip.mp4")
    run("--frames")
    folder = tmp_path / "found/clip"
    assert sorted(x.name for x in folder.iterdir()) == [
        "000000.png",
        "000001.png",
        "000002.png",
    ]
    first, second = (
        np.asarray(keras.utils.load_img(folder / f"00000{i}.png"), int)
        for i in (0, 1)
    )
    assert first.max() < 20
    assert np.ptp(second[170:215, 90:100], axis=-1).max() > 60


def test_frames_and_images_have_folders_of_their_own(model, tmp_path):
    write("clip.mp4", frames=1)
    (tmp_path / "clip").mkdir()
    image = np.zeros((HEIGHT, WIDTH, 3))
    keras.utils.save_img("clip/000000.jpg", image, scale=False)
    run("--frames", images=["clip.mp4", "clip/000000.jpg"])
    found = sorted((tmp_path / "found").rglob("*.png"))
    assert [str(x.relative_to(tmp_path / "found")) for x in found] == [
        "clip/000000.png",
        "clip.mp4/000000.png",
    ]


@pytest.mark.parametrize("options", [[], ["--frames"]])
def test_a_video_is_not_replaced_by_what_is_drawn(
    model, monkeypatch, tmp_path, options
):
    (tmp_path / "videos").mkdir()
    write("videos/clip.mp4", frames=1)
    images = ["videos/clip.mp4"]
    if options:
        (tmp_path / "found/videos/clip").mkdir(parents=True)
        image = np.zeros((HEIGHT, WIDTH, 3))
        keras.utils.save_img("found/videos/clip/000000.png", image)
        images.append("found/videos/clip/000000.png")
    else:
        options = ["--output", "videos"]
    monkeypatch.setattr(detect, "open_detector", None)
    with pytest.raises(SystemExit, match="must not replace what is read"):
        run(*options, images=images)


def test_results_have_the_numbers_of_the_frames(model):
    write("clip.mp4")
    keras.utils.save_img("a.png", np.zeros((HEIGHT, WIDTH, 3)), scale=False)
    run("--json", "a.json", "--csv", "a.csv", images=["a.png", "clip.mp4"])
    with open("a.json") as file:
        contents = json.load(file)
    assert [(x["file_name"], x.get("frame")) for x in contents["images"]] == [
        ("a.png", None),
        ("clip.mp4", 0),
        ("clip.mp4", 1),
        ("clip.mp4", 2),
    ]
    numbers = {x["id"]: x.get("frame") for x in contents["images"]}
    objects = contents["annotations"]
    assert [numbers[x["image_id"]] for x in objects] == [1, 2]
    for i, entry in enumerate(objects, start=1):
        expected = [96 * i, 160, 64, 64]
        np.testing.assert_allclose(entry["bbox"], expected, atol=3)
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(x["file"], x["frame"]) for x in rows] == [
        ("clip.mp4", "1"),
        ("clip.mp4", "2"),
    ]


def test_of_a_video_that_is_cut_off_what_was_read_is_kept(
    model, monkeypatch, capsys
):
    write("clip.mp4")
    write("whole.mp4", frames=1)
    monkeypatch.setattr(detect_video, "VideoReader", CutOff)
    with pytest.raises(SystemExit) as caught:
        run("--json", "a.json", images=["clip.mp4", "whole.mp4"])
    assert caught.value.code == (
        "detect: 1 of 2 videos could not be read, or not to the end"
    )
    assert "detect: clip.mp4 is cut off" in capsys.readouterr().err
    with open("a.json") as file:
        images = json.load(file)["images"]
    assert [x["file_name"] for x in images] == ["clip.mp4"] * 2 + ["whole.mp4"]
    for name, frames in (("clip", 2), ("whole", 1)):
        with video.VideoReader(f"found/{name}.mp4") as reader:
            assert len(list(reader)) == frames


class CutOff(video.VideoReader):
    """Of a video of more than two frames the rest is missing."""

    error = video.BrokenVideo("clip.mp4 is cut off")

    def __iter__(self):
        for i, frame in enumerate(super().__iter__()):
            if i == 2:
                raise self.error
            yield frame


def test_ctrl_c_keeps_what_was_done(model, monkeypatch):
    write("clip.mp4")
    monkeypatch.setattr(CutOff, "error", KeyboardInterrupt())
    monkeypatch.setattr(detect_video, "VideoReader", CutOff)
    with pytest.raises(SystemExit) as caught:
        run("--csv", "a.csv")
    assert caught.value.code == 130
    with open("a.csv") as file:
        assert len(file.readlines()) == 2
    with video.VideoReader("found/clip.mp4") as reader:
        assert len(list(reader)) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("full")])
def test_former_results_stay_if_nothing_was_done(model, monkeypatch, error):
    def fail(*arguments):
        raise error

    write("clip.mp4")
    pathlib.Path("a.csv").write_text("former")
    monkeypatch.setattr(detect, "run_videos", fail)
    with pytest.raises(SystemExit):
        run("--csv", "a.csv")
    assert pathlib.Path("a.csv").read_text() == "former"


def test_a_file_that_is_no_video_leaves_nothing(model, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(SystemExit, match="1 of 1 videos could not be read"):
        run()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("detect: clip.mp4 cannot be read as a video: ")
    assert not (tmp_path / "found").exists()


def test_without_the_package_its_extra_is_named(model, monkeypatch):
    write("clip.mp4")
    find_spec = detect.check_installed.__globals__["importlib"].util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *x: None if name == "av" else find_spec(name, *x),
    )
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == ("detect: A video needs av: pip install av")
