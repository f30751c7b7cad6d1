"""Writes the card of a model that is published, with its training's numbers.

    python tools/make_card.py runs/classifier FOLDER --license mit

writes README.md, which the hubs show and read, and SHA256SUMS into FOLDER,
which holds what is published. The other folder is that of the training.
"""

import argparse
import difflib
import os
import re
import sys

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.hub import model_card  # noqa: E402

REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
# Of the hub's identifiers those that weights have.
LICENSES = (
    "afl-3.0 agpl-3.0 apache-2.0 apple-amlr apple-ascl artistic-2.0 "
    "bigcode-openrail-m bigscience-bloom-rail-1.0 bigscience-openrail-m bsd "
    "bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 "
    "cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 "
    "creativeml-openrail-m ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 "
    "eupl-1.2 gfdl gpl gpl-2.0 gpl-3.0 isc lgpl lgpl-2.1 lgpl-3.0 lppl-1.3c "
    "mit mpl-2.0 ms-pl ncsa odbl odc-by ofl-1.1 openrail osl-3.0 other pddl "
    "postgresql unknown unlicense wtfpl zlib"
).split()


def parse(arguments=None):
    """Reads the command line.

    Args:
        arguments: List of strings; `None` for those of the process.

    Returns:
        `argparse.Namespace`.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", metavar="RUN", help="folder of the training")
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder that is published"
    )
    parser.add_argument(
        "--license",
        required=True,
        metavar="ID",
        help="of the weights, as the hub calls it: mit, apache-2.0, …",
    )
    parser.add_argument("--name", help="title (default: that of the network)")
    parser.add_argument(
        "--repository", metavar="USER/NAME", help="where it will be"
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="what it was trained on (default: the name of the folder)",
    )
    args = parser.parse_args(arguments)
    if args.repository is not None and not REPOSITORY.fullmatch(
        args.repository
    ):
        parser.error(f"--repository: {args.repository} is not USER/NAME")
    return args


def warn_of_license(license):
    """Names a license that the hub may not know, for it grows new ones.

    Args:
        license: String.
    """
    if license not in LICENSES:
        near = difflib.get_close_matches(license, LICENSES, n=1)
        hint = f": is {near[0]} meant?" if near else ""
        print(
            f"make_card.py: {license} is none of the hub's usual licenses, of "
            f"which `other` is one{hint}",
            file=sys.stderr,
        )


def main(arguments=None):
    """Runs the command.

    Args:
        arguments: List of strings; `None` for those of the process.

    Raises:
        SystemExit: With a message if there is no such training or model.
    """
    args = parse(arguments)
    warn_of_license(args.license)
    replaced = os.path.exists(os.path.join(args.folder, "README.md"))
    try:
        path = model_card(**vars(args))
        print(f"Saved {path}" + ", in place of a former one" * replaced)
    except (OSError, ValueError) as error:
        sys.exit(f"make_card.py: {error}")


if __name__ == "__main__":
    main()
