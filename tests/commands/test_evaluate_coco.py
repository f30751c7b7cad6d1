import importlib.util
import json
import pathlib
import shutil
import subprocess
import sys
import types

import keras
import numpy as np
import pytest

from keras_epsanet import EPSANetBackbone
from keras_epsanet.commands import evaluate_coco
from keras_epsanet.data import coco, scenes
from keras_epsanet.data.fashion_mnist import CLASS_NAMES
from keras_epsanet.detection import RetinaNet, evaluation_folder, sources
from keras_epsanet.detection.ap_table import COLUMNS
from keras_epsanet.detection.coco_report import CocoReport

pytest.importorskip("pycocotools")
pytest.importorskip("matplotlib")
if keras.backend.backend() != "tensorflow":
    pytest.skip("images are decoded by TensorFlow", allow_module_level=True)

# Each has a test below.
OPTIONS = {"data", "part", "run", "weights", "output", "batch_size"}


def make_backbone():
    return EPSANetBackbone(
        (1, 1, 1, 1), (16, 16, 16, 16), (3, 5, 7, 9), (1, 4, 4, 4), reduction=4
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes, and a detector of their classes in a file."""
    folder = tmp_path_factory.mktemp("evaluated")
    scenes.write(folder / "coco", 3, 2, image_size=64)
    detector = RetinaNet(
        make_backbone(),
        10,
        class_names=CLASS_NAMES,
        image_size=(64, 64),
        confidence_threshold=0.0,
        max_detections=2,
    )
    detector.save(folder / "model.keras")
    detector.class_names = None
    (folder / "run").mkdir()
    detector.save(folder / "run/model.keras")
    return folder


@pytest.fixture
def predicted(monkeypatch):
    """Shapes of batches, in which every object of the truth is found."""
    shapes = []

    def predict(model, batches):
        (batch,) = batches
        shapes.append(batch["images"].shape)
        return {
            "boxes": np.tile([[[1.0, 2, 30, 40]]], (shapes[-1][0], 2, 1)),
            "labels": np.tile([0, 1], (shapes[-1][0], 1)),
            "confidence": np.tile([0.9, 0.5], (shapes[-1][0], 1)),
            "num_detections": np.full(shapes[-1][0], 2),
        }

    monkeypatch.setattr(evaluation_folder, "predict", predict)
    return shapes


def run(folder, output, *options, weights="model.keras"):
    arguments = ["--data", folder / "coco", "--output", output, *options]
    if weights is not None:
        arguments += ["--weights", folder / weights]
    evaluate_coco.main(list(map(str, arguments)))


def test_averages_classes_and_curves_are_left(
    folder, predicted, tmp_path, capsys
):
    run(folder, tmp_path / "out")
    assert len(predicted) == 2
    names = {x.name for x in (tmp_path / "out").iterdir()}
    assert names == {*evaluate_coco.RESULTS, "parts", ".lock"}
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert list(metrics) == list(COLUMNS)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert len(results) == 4 and results[0]["score"] == 0.9
    lines = (tmp_path / "out/classes.csv").read_text().splitlines()
    assert [x.split(",")[0] for x in lines[1:]] == list(CLASS_NAMES)
    printed = capsys.readouterr().out
    assert "| boxes | " in printed and f"| {CLASS_NAMES[3]} | " in printed
    # The paper has no figures for other classes than COCO's.
    assert "paper" not in printed
    head = (tmp_path / "out/precision_recall.png").read_bytes()[:4]
    assert head[1:] == b"PNG"


def test_the_same_command_goes_on(folder, predicted, tmp_path, capsys):
    run(folder, tmp_path)
    first = (tmp_path / "metrics.json").read_text()
    predicted.clear()
    capsys.readouterr()
    run(folder, tmp_path)
    assert predicted == []
    assert "2 of 2 images were done before" in capsys.readouterr().out
    assert (tmp_path / "metrics.json").read_text() == first
    # Not that of another detector.
    run(folder, tmp_path, "--batch-size", 2)
    assert predicted == [(2, 64, 64, 3)]


def test_another_part_is_evaluated(folder, predicted, tmp_path):
    run(folder, tmp_path, "--part", "train")
    assert len(predicted) == 3


def test_the_detector_of_a_run_is_read(folder, predicted, tmp_path):
    from keras_epsanet.training import CocoRecipe

    recipe = CocoRecipe(image_size=32, longer_side=64)
    (folder / "run/recipe.json").write_text(recipe.to_json())
    names = json.dumps(list(CLASS_NAMES))
    (folder / "run/class_names.json").write_text(names)
    run(folder, tmp_path, "--run", folder / "run", weights=None)
    assert predicted == 2 * [(1, 32, 32, 3)]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda names: [*names[:9], "hat"], "'hat' as class 9, not"),
        (lambda names: names[:9], "a detector with 9 classes, not 10"),
    ],
)
def test_a_detector_of_other_classes_is_refused(
    folder, tmp_path, change, message
):
    names = change(list(CLASS_NAMES))
    detector = RetinaNet(make_backbone(), len(names), class_names=names)
    detector.save(tmp_path / "other.keras")
    with pytest.raises(SystemExit, match=message):
        run(folder, tmp_path, weights=tmp_path / "other.keras")
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize(
    "weights", ["none.keras", "none.pth", "mask_rcnn_resnet5"]
)
def test_weights_that_are_none_are_named(folder, tmp_path, weights):
    with pytest.raises(SystemExit, match=f"{weights} cannot be used: "):
        evaluate_coco.main(
            ["--data", str(folder / "coco"), "--weights", weights]
        )


def test_data_that_are_none_are_named(folder, tmp_path):
    (tmp_path / "coco").mkdir()
    with pytest.raises(SystemExit, match="Received: .*coco$"):
        run(tmp_path, tmp_path, weights=folder / "model.keras")


def test_annotations_are_not_replaced_by_results(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    path.write_text("annotations")
    monkeypatch.setattr(evaluate_coco, "open_detector", None)
    arguments = ["--data", str(path), "--output", f"{tmp_path}/."]
    with pytest.raises(SystemExit, match="must not replace what is read"):
        evaluate_coco.main(arguments)
    assert path.read_text() == "annotations"


def test_ctrl_c_says_that_it_goes_on(folder, tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluation_folder, "predict", interrupt)
    with pytest.raises(SystemExit) as caught:
        run(folder, tmp_path)
    assert caught.value.code == 130
    assert "goes on after the last images" in capsys.readouterr().err


def test_the_paper_stands_beside_coco(folder, predicted, tmp_path, monkeypatch):
    seen = []

    def published_rows(*arguments):
        seen.append(arguments)
        return {"paper, epsanet50_small, boxes": {"AP": 0.382}}

    monkeypatch.setattr(evaluate_coco, "published_rows", published_rows)
    run(folder, tmp_path)
    weights = str(folder / "model.keras")
    assert seen == [("retinanet", list(CLASS_NAMES), weights)]


def test_the_part_is_opened_of_the_data_and_the_run(monkeypatch, capsys):
    seen = []

    def open_part(*arguments):
        seen.append(arguments)
        raise ValueError("no more")

    monkeypatch.setattr(evaluate_coco.sources, "open_part", open_part)
    monkeypatch.setattr(evaluate_coco, "open_detector", lambda args: None)
    options = "--data MY --part test --output OUT --run RUN".split()
    with pytest.raises(SystemExit, match="^mine: no more"):
        evaluate_coco.main(options, "mine")
    ((*most, _),) = seen
    assert most == ["MY", "test", "OUT", "RUN"]


def evaluate(monkeypatch, folder, output, family, results=(), bad=()):
    """Evaluates results that are given; returns arguments and IoU types."""
    seen, kinds = [], []

    def evaluate_images(*arguments):
        seen.append(arguments)
        return list(results), list(bad)

    def report(annotations, results, iou_types):
        kinds.append(tuple(iou_types))
        return CocoReport(annotations, results, iou_types)

    monkeypatch.setattr(evaluate_coco, "evaluate_images", evaluate_images)
    monkeypatch.setattr(evaluate_coco, "CocoReport", report)
    annotations = coco.Annotations(
        folder / "coco/annotations/instances_val.json", folder / "coco/val"
    )
    detector = types.SimpleNamespace(
        FAMILY=family, num_classes=10, class_names=None
    )
    output.mkdir()
    options = ["--data", "x", "--output", str(output)]
    args = evaluate_coco.parse(options)
    strategy = types.SimpleNamespace(num_replicas_in_sync=3)
    evaluate_coco.evaluate(args, detector, annotations, strategy, "claim")
    ((*most, _, claim),) = seen
    assert most[:2] == [detector, annotations] and most[3] == str(output)
    assert claim == "claim"
    return most[2], kinds


@pytest.mark.parametrize("family", ["mask_rcnn", "faster_rcnn"])
@pytest.mark.parametrize("are_known", [True, False])
def test_masks_are_evaluated_where_both_have_them(
    folder, tmp_path, monkeypatch, family, are_known
):
    known = lambda truth: are_known  # noqa: E731
    monkeypatch.setattr(evaluate_coco, "masks_are_known", known)
    batch_size, kinds = evaluate(monkeypatch, folder, tmp_path / "a", family)
    both = family == "mask_rcnn" and are_known
    assert kinds == [("bbox", "segm") if both else ("bbox",)]
    assert batch_size == 3  # One on each device.


def test_bad_images_are_named(folder, tmp_path, monkeypatch, capsys):
    bad = ["worse.jpg"]
    evaluate(monkeypatch, folder, tmp_path / "a", "retinanet", bad=bad)
    printed = capsys.readouterr()
    assert "worse.jpg" in printed.out + printed.err


def test_files_are_written_as_a_whole(folder, tmp_path, monkeypatch):
    """By the functions that rename them when they are whole."""
    written = {}
    monkeypatch.setattr(evaluate_coco, "write_file", written.__setitem__)

    def draw(report, path):
        assert not path.endswith("/precision_recall.png")
        pathlib.Path(path).write_text("a picture")

    monkeypatch.setattr(evaluate_coco, "draw_precision_recall", draw)
    evaluate(monkeypatch, folder, tmp_path / "a", "retinanet")
    names = {pathlib.Path(path).name for path in written}
    assert names == {"metrics.json", "classes.csv", "results.json"}
    (picture,) = (tmp_path / "a").iterdir()
    assert picture.name == "precision_recall.png"
    assert picture.read_text() == "a picture"


def test_progress_begins_with_what_was_done_before(monkeypatch, capsys):
    updates = []
    bar = types.SimpleNamespace(update=updates.append)
    monkeypatch.setattr(evaluate_coco, "progress_bar", lambda number: bar)
    show = evaluate_coco.progress(9)
    for done in (4, 4, 6):
        show(done)
    assert updates == [4, 6]
    assert capsys.readouterr().out == "4 of 9 images were done before\n"
    evaluate_coco.progress(9)(0)
    assert updates == [4, 6, 0] and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["pycocotools", "matplotlib"])
def test_a_missing_package_is_named_before_work_starts(name, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda x, *args: None if x == name else find_spec(x, *args),
    )
    with pytest.raises(SystemExit, match=f"{name}.*pip install {name}"):
        evaluate_coco.main(["--data", "none"])


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(SystemExit, match="An evaluation .*Received: SLURM"):
        evaluate_coco.main(["--data", "none"])


def test_every_option_has_a_test():
    args = evaluate_coco.parse(["--data", "x"])
    assert set(vars(args)) == OPTIONS
    assert args.part == "val" and args.output == "runs/evaluated"


@pytest.fixture
def yolo(folder, tmp_path):
    """A scene in YOLO's form, of other classes than the detector's."""
    images = tmp_path / "yolo/images/val"
    images.mkdir(parents=True)
    shutil.copy(folder / "coco/val/000000000001.jpg", images / "1.jpg")
    (tmp_path / "yolo/classes.txt").write_text("fig\npear\n")
    return tmp_path / "yolo"


@pytest.mark.parametrize("weights", ["model.keras", "none.keras"])
def test_a_command_that_is_refused_leaves_nothing(
    folder, yolo, tmp_path, weights
):
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        run(folder, output, "--data", yolo, weights=weights)
    assert isinstance(caught.value.code, str)
    reason = f"2 as in {yolo}" if weights == "model.keras" else "cannot be used"
    assert reason in caught.value.code
    assert not output.exists()
    # The same data of the detector's classes are written there.
    names = "\n".join(CLASS_NAMES)
    (yolo / "classes.txt").write_text(names)
    sources.open_part(yolo, "val", output)
    assert (output / "annotations/instances_val.json").exists()


def test_a_folder_that_another_process_evaluates_in_is_refused(
    folder, predicted, tmp_path
):
    output = tmp_path / "out"
    output.mkdir()
    code = (
        "import sys\n"
        "from keras_epsanet.training.lock import lock_folder\n"
        f"lock = lock_folder({str(output)!r})\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(SystemExit, match="out is in use by process"):
            run(folder, output)
        assert not predicted and [x.name for x in output.iterdir()] == [".lock"]
        other.stdin.close()
    run(folder, output)
    assert predicted
