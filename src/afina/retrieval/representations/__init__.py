"""Represent texts by what they are compared by, one file each."""
