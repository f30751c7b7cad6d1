"""What is run from the command line, one file for each command."""
