"""Variables that an optimizer's config names."""


def path_of(variable):
    """Returns the path of a variable, such as `"conv1_bn/gamma"`."""
    return getattr(variable, "path", variable.name)


def find_by_path(path, variables):
    """Finds the variable of a path among those of a model.

    Args:
        path: String that `path_of` returned, perhaps of the model before it
            was saved.
        variables: List of variables.

    Returns:
        List of one variable, or none.

    Raises:
        ValueError: If several have paths like this one.
    """
    found = [v for v in variables if path_of(v) == path] or [
        # Loading can leave out the name of the model around a layer.
        v
        for v in variables
        if f"/{path}".endswith(f"/{path_of(v)}")
        or f"/{path_of(v)}".endswith(f"/{path}")
    ]
    if len(found) > 1:
        raise ValueError(
            "A variable that is treated apart must be known by its path. "
            f"Received: {len(found)} variables like {path}"
        )
    return found
