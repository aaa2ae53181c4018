"""This room has what answers with a trained adapter: classifiers, taggers, choosers, writers and embedders."""
