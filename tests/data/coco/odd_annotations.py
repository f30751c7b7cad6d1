"""A hundred odd annotation files, each a change of a good one."""

import copy
import json

NAN, INF = float("nan"), float("inf")
SQUARE = [10, 6, 30, 6, 30, 24, 10, 24]


def _set(kind, **values):
    """Sets values of the second entry of a kind."""

    def change(contents):
        contents[kind][1].update(values)

    return change


def _drop(kind, *names):
    def change(contents):
        for name in names:
            contents[kind][1].pop(name, None)

    return change


def _put(**values):
    """Sets what is at the top of the file."""
    return lambda contents: contents.update(values)


def _entry(kind, value):
    """Puts something else in the place of an entry."""

    def change(contents):
        contents[kind][1] = value

    return change


def _many(number):
    def change(contents):
        first = contents["annotations"][0]
        contents["annotations"] = [
            {**first, "id": i + 1, "bbox": [i % 40, i % 30, 9, 9]}
            for i in range(number)
        ]

    return change


def _crowd(segmentation):
    return _set("annotations", iscrowd=1, segmentation=segmentation)


CHANGES = {
    # Missing and absent.
    "no images": _put(images=[], annotations=[]),
    "no images, but annotations": _put(images=[]),
    "no annotations": _put(annotations=[]),
    "no categories": _put(categories=[]),
    "no categories nor annotations": _put(categories=[], annotations=[]),
    "info only": lambda c: [c.pop(k) for k in ("images", "annotations")],
    **{
        f"{kind} without {name}": _drop(kind, name)
        for kind, names in {
            "images": ("id", "file_name", "width", "height"),
            "annotations": (
                *("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
                "segmentation",
            ),
            "categories": ("id", "name"),
        }.items()
        for name in names
    },
    **{
        f"{kind} with null as {name}": _set(kind, **{name: None})
        for kind, names in {
            "images": ("id", "file_name", "width", "height"),
            "annotations": (
                *("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
                "segmentation",
            ),
            "categories": ("id", "name"),
        }.items()
        for name in names
    },
    **{
        f"{kind} are {value!r}": _put(**{kind: value})
        for kind in ("images", "annotations", "categories")
        for value in (None, {}, "text", 7)
    },
    **{
        f"one of the {kind} is {value!r}": _entry(kind, value)
        for kind in ("images", "annotations", "categories")
        for value in (None, [], "text", 7)
    },
    # Strings for numbers, and other kinds.
    "image id as text": _set("images", id="101"),
    "image id as a list": _set("images", id=[101]),
    "image id as a fraction": _set("images", id=1.5),
    "image id true": _set("images", id=True),
    "negative image id": _set("images", id=-5),
    "image id beyond 64 bits": _set("images", id=2**70),
    "width as text": _set("images", width="60"),
    "height as a fraction": _set("images", height=50.5),
    "width true": _set("images", width=True),
    "negative width": _set("images", width=-60),
    "width of zero": _set("images", width=0),
    "huge width": _set("images", width=10**9),
    "width beyond all numbers": _set("images", width=10**400),
    "width not a number": _set("images", width=NAN),
    "file name as a number": _set("images", file_name=7),
    "empty file name": _set("images", file_name=""),
    "file name of a folder": _set("images", file_name="."),
    "file name of another folder": _set("images", file_name="../1.png"),
    "file name with a zero byte": _set("images", file_name="a\0b.png"),
    "file name without a meaning": _set("images", file_name="\ud800.png"),
    "missing image file": _set("images", file_name="none.png"),
    "endless file name": _set("images", file_name=5000 * "a"),
    "image twice": lambda c: c["images"].append(dict(c["images"][0])),
    "file twice": _set("images", file_name="0.png", width=60, height=40),
    "category id as text": _set("annotations", category_id="2"),
    "category id as a list": _set("annotations", category_id=[2]),
    "unknown category": _set("annotations", category_id=12),
    "category twice": lambda c: c["categories"].append(c["categories"][0]),
    "category name as a number": _set("categories", name=7),
    "category names twice": _set("categories", name="class 1"),
    "category id beyond 64 bits": _set("categories", id=2**70),
    "names in Unicode": _set("categories", name="Fußgänger 🚶\u202e"),
    "unknown image": _set("annotations", image_id=999),
    "image of an object as text": _set("annotations", image_id="100"),
    "image of an object as a list": _set("annotations", image_id=[100]),
    "annotation id as text": _set("annotations", id="a"),
    "annotation id as a list": _set("annotations", id=[1]),
    "annotation id twice": _set("annotations", id=1),
    "annotation id 0": _set("annotations", id=0),
    "annotation id beyond 64 bits": _set("annotations", id=2**70),
    # Boxes.
    "box as text": _set("annotations", bbox="10,6,20,18"),
    "box of texts": _set("annotations", bbox=["10", "6", "20", "18"]),
    "box of three": _set("annotations", bbox=[10, 6, 20]),
    "box of five": _set("annotations", bbox=[10, 6, 20, 18, 1]),
    "empty box": _set("annotations", bbox=[]),
    "box with null": _set("annotations", bbox=[10, None, 20, 18]),
    "box of boxes": _set("annotations", bbox=[[10, 6, 20, 18]]),
    "box of booleans": _set("annotations", bbox=[True, True, True, True]),
    "box as a dictionary": _set("annotations", bbox={"x": 1}),
    "box not a number": _set("annotations", bbox=[NAN, 6, 20, 18]),
    "endless box": _set("annotations", bbox=[0, 0, INF, INF]),
    "huge box": _set("annotations", bbox=[-1e30, -1e30, 1e31, 1e31]),
    "box beyond all numbers": _set("annotations", bbox=[0, 0, 10**400, 9]),
    "negative size": _set("annotations", bbox=[30, 24, -20, -18]),
    "box of no size": _set("annotations", bbox=[10, 6, 0, 0]),
    "box outside": _set("annotations", bbox=[500, 500, 9, 9]),
    "area as text": _set("annotations", area="250"),
    "area not a number": _set("annotations", area=NAN),
    "negative area": _set("annotations", area=-1),
    "area beyond all numbers": _set("annotations", area=10**400),
    # Masks.
    "polygon of four numbers": _set("annotations", segmentation=[[1, 2, 9, 9]]),
    "polygon of an odd number": _set("annotations", segmentation=[SQUARE[:7]]),
    "flat polygon": _set("annotations", segmentation=SQUARE),
    "polygon of pairs": _set(
        "annotations", segmentation=[[[10, 6], [30, 6], [30, 24]]]
    ),
    "polygon of texts": _set("annotations", segmentation=[["1"] * 6]),
    "polygon with null": _set("annotations", segmentation=[[None] * 6]),
    "polygon not a number": _set("annotations", segmentation=[[NAN] * 6]),
    "huge polygon": _set("annotations", segmentation=[[0, 0, 1e30, 0, 9, 9]]),
    "polygon beyond all numbers": _set(
        "annotations", segmentation=[[0, 0, 10**400, 0, 9, 9]]
    ),
    "negative polygon": _set("annotations", segmentation=[[-9] * 6]),
    "mask as text": _set("annotations", segmentation="abc"),
    "mask as a number": _set("annotations", segmentation=7),
    "runs": _crowd({"size": [40, 60], "counts": [400, 600, 1400]}),
    "compressed runs": _crowd({"size": [40, 60], "counts": "PP1a0000000000"}),
    "runs of no crowd": _set(
        "annotations", segmentation={"size": [40, 60], "counts": [9, 2391]}
    ),
    "runs as texts": _crowd({"size": [40, 60], "counts": ["9", "2391"]}),
    "negative runs": _crowd({"size": [40, 60], "counts": [-9, 2409]}),
    "runs beyond the image": _crowd({"size": [40, 60], "counts": [0, 10**9]}),
    "runs beyond all numbers": _crowd(
        {"size": [40, 60], "counts": [0, 10**400]}
    ),
    "runs of a negative size": _crowd({"size": [-40, 60], "counts": [0]}),
    "runs of one size": _crowd({"size": 40, "counts": [0, 2400]}),
    "runs of sizes as text": _crowd({"size": "40", "counts": [0, 2400]}),
    "runs of a huge size": _crowd({"size": [10**9, 10**9], "counts": "abc"}),
    "runs without counts": _crowd({"size": [40, 60]}),
    "runs without a size": _crowd({"counts": [0, 2400]}),
    "cut off runs": _crowd({"size": [40, 60], "counts": "PP"}),
    "empty runs": _crowd({"size": [40, 60], "counts": ""}),
    "no counts": _crowd({"size": [40, 60], "counts": []}),
    "runs in Unicode": _crowd({"size": [40, 60], "counts": "Ü🚶"}),
    "random runs": _crowd({"size": [40, 60], "counts": "zzzzzzzzzzzzzzzzz"}),
    "a crowd as a polygon": _crowd([SQUARE]),
    "a crowd without a mask": _crowd(None),
    "crowd as text": _set("annotations", iscrowd="0"),
    "crowd as a list": _set("annotations", iscrowd=[]),
    "crowd of two": _set("annotations", iscrowd=2),
    "crowd true": _set("annotations", iscrowd=True),
    # Much.
    "10,000 objects": _many(10000),
    "unknown fields": _put(extra={"a": [1]}, licenses=None),
}


def _changed(change):
    def text(contents):
        contents = copy.deepcopy(contents)
        change(contents)
        return json.dumps(contents).encode()

    return text


def _plain(contents):
    return json.dumps(contents).encode()


FILES = {name: _changed(change) for name, change in CHANGES.items()} | {
    "empty file": lambda c: b"",
    "white space": lambda c: b" \n ",
    "null": lambda c: b"null",
    "a list": lambda c: json.dumps([c]).encode(),
    "results": lambda c: json.dumps(c["annotations"]).encode(),
    "text": lambda c: b'"images"',
    "a number": lambda c: b"7",
    "cut off": lambda c: _plain(c)[:-20],
    "two files": lambda c: 2 * _plain(c),
    "line by line": lambda c: b"\n".join(_plain(x) for x in c["images"]),
    "quotes of Python": lambda c: repr(c).encode(),
    "UTF-16": lambda c: _plain(c).decode().encode("utf-16"),
    "a byte order mark": lambda c: b"\xef\xbb\xbf" + _plain(c),
    "no UTF-8": lambda c: _plain(c).replace(b"class 2", b"cl\xffss"),
    "a zero byte": lambda c: _plain(c).replace(b"class 2", b"cl\0ss"),
    "an image": lambda c: b"\x89PNG\r\n\x1a\n" + bytes(99),
    "endless depth": lambda c: 200_000 * b"[",
    "an endless number": lambda c: _plain(c).replace(b"250", 5000 * b"9"),
    "a comment": lambda c: b"// COCO\n" + _plain(c),
    "a comma too much": lambda c: _plain(c)[:-1] + b",}",
    "keys twice": lambda c: b'{"images": 7,' + _plain(c)[1:],
}

# What is completed, or left out and named; all others are refused.
READ = {
    "10,000 objects",
    "a byte order mark",
    "a crowd as a polygon",
    "a crowd without a mask",
    "annotation id 0",
    "annotation id as a list",
    "annotation id as text",
    "annotation id beyond 64 bits",
    "annotations with null as area",
    "annotations with null as id",
    "annotations with null as iscrowd",
    "annotations with null as segmentation",
    "annotations without area",
    "annotations without id",
    "annotations without iscrowd",
    "annotations without segmentation",
    "area as text",
    "area beyond all numbers",
    "area not a number",
    "box not a number",
    "box of no size",
    "box outside",
    "category names twice",
    "compressed runs",
    "crowd true",
    "cut off runs",
    "empty runs",
    "endless box",
    "file twice",
    "flat polygon",
    "huge box",
    "huge polygon",
    "keys twice",
    "mask as a number",
    "mask as text",
    "names in Unicode",
    "negative area",
    "negative image id",
    "negative polygon",
    "negative runs",
    "negative size",
    "no counts",
    "polygon beyond all numbers",
    "polygon not a number",
    "polygon of an odd number",
    "polygon of four numbers",
    "polygon of pairs",
    "polygon of texts",
    "polygon with null",
    "random runs",
    "runs",
    "runs as texts",
    "runs beyond all numbers",
    "runs beyond the image",
    "runs in Unicode",
    "runs of a huge size",
    "runs of a negative size",
    "runs of no crowd",
    "runs of one size",
    "runs of sizes as text",
    "runs without a size",
    "runs without counts",
    "unknown fields",
    "unknown image",
}
