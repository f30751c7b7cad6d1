"""The networks of the paper and what belongs to their inputs and outputs."""
