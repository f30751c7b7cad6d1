"""The output folder of a comparison: what is known, and what was done.

    OUTPUT/comparison.json           what all runs have in common
    OUTPUT/costs.json                what every network costs
    OUTPUT/ATTENTION/seed-0/         a run
    OUTPUT/ATTENTION/seed-0/result.json   its last file

Every file appears as a whole or not at all.
"""

import dataclasses
import json
import os

from keras_epsanet import storage
from keras_epsanet.atomic import write_file
from keras_epsanet.training.claim import check_claim, claim_folder

# What the runs of one comparison differ in.
OF_A_RUN = ("model", "seed")


def describe(frame, recipe, source):
    """Says what the runs of a comparison have in common.

    Args:
        frame: `Frame`.
        recipe: Recipe of any of the runs.
        source: What `sources.open_source` returned.

    Returns:
        Dictionary, as it comes back from JSON.
    """
    fields = dataclasses.asdict(recipe)
    described = {
        "data": source.name,
        "images": source.counts,
        "classes": len(source.class_names),
        **frame._asdict(),
        **{k: v for k, v in fields.items() if k not in OF_A_RUN},
    }
    return json.loads(json.dumps(described))


class Folder:
    """The folder of a comparison, which is locked against other processes.

    Args:
        path: Folder. It is made if need be.
        description: What `describe` returned.

    Raises:
        ValueError: If another process uses the folder, or it belongs to a
            comparison with another description.
    """

    def __init__(self, path, description):
        self.path = os.fspath(path)
        self.description = description
        self._check()
        storage.makedirs(self.path, exist_ok=True)
        self._claim = claim_folder(self.path)

    def _check(self):
        theirs, description = self._read("comparison.json"), self.description
        if theirs is None:
            return
        differences = [
            f"{key}: {description.get(key)}, not {theirs.get(key)}"
            for key in sorted({*theirs, *description})
            if description.get(key) != theirs.get(key)
        ]
        if differences:
            raise ValueError(
                f"{self.path} belongs to a comparison with other options. "
                "Take another --output, or the options of its "
                f"comparison.json. Received: {'; '.join(differences)}"
            )

    def costs(self):
        """Dictionary of what was measured, by the names of the networks."""
        return self._read("costs.json") or {}

    def add_cost(self, name, cost):
        """Notes what a network costs, and with it what the folder is for.

        Args:
            name: String.
            cost: Dictionary.
        """
        self._write("comparison.json", self.description)
        self._write("costs.json", {**self.costs(), name: cost})

    def run_path(self, name, seed):
        """Returns the path of a run, which need not exist."""
        return os.path.join(self.path, name, f"seed-{seed}")

    def result(self, name, seed):
        """Returns the result of a finished run, or `None`."""
        return self._read(name, f"seed-{seed}", "result.json")

    def add_result(self, name, seed, result):
        """Notes the result of a run, which is finished by that.

        Args:
            name: String.
            seed: Integer.
            result: Dictionary.
        """
        self._write(os.path.join(name, f"seed-{seed}", "result.json"), result)

    def _read(self, *parts):
        try:
            with storage.open_file(os.path.join(self.path, *parts)) as file:
                return json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _write(self, name, content):
        check_claim(self._claim)
        text = json.dumps(content, indent=1) + "\n"
        write_file(os.path.join(self.path, name), text)
