"""Compares attentions in one ResNet, as the paper's figure 1 does.

    python examples/compare_attentions.py  # or make compare

trains a narrow ResNet without attention and with eight of them, each with
three seeds, on the embedded images of Fashion-MNIST. All have the same recipe,
order of the images and initial seeds. It leaves `table.md`, `table.csv` and
`figure_1.png` in runs/compared, each run in a folder of its own beside them.

    python examples/compare_attentions.py --attentions psa psa_sigmoid \
        psa_groups_16 --seeds 5 --paper

compares PSA with its own ablations, and puts the paper's figures beside. The
same command goes on where it was, after Ctrl-C, a SIGTERM or a kill; further
attentions and seeds can be asked for in the same folder. docs/attention.md has
the names and what was measured.

    python examples/compare_attentions.py --data IMAGENET --output RUN

trains ResNet-50 with each of them by the paper's recipe, 120 epochs a run. Not
run on ImageNet yet.
"""

import keras_epsanet_command

keras_epsanet_command.set_variables()  # Before TensorFlow is imported.

from keras_epsanet.commands import compare

if __name__ == "__main__":
    compare.main()
