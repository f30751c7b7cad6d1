"""What walks over a model: counts its operations, folds its BatchNorms, sets
their statistics, replaces its convolutions.
"""
