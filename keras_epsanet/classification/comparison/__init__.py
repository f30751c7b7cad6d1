"""Attentions compared: one frame, recipe, order and seed for all of them."""
