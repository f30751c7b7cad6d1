"""The words of the command `keras-epsanet`, one file for each.

Each file has a `main(arguments, program)`. What they have in common is in
`options.py` and `reporting.py`. `keras_epsanet_command.py` calls them.
"""
