"""A classifier of one's own images: what trains, checks and shows it."""
