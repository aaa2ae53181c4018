"""Machines that are not this one: what is published of them, and what a study takes on them."""
