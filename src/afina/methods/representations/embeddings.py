"""The frozen model's states, one vector a text: computed once and cached."""

from afina.methods.representations.base import TextRepresentation, representation

__all__ = ["FrozenEmbeddings"]


@representation("embeddings")
class FrozenEmbeddings(TextRepresentation):
    """Takes the frozen model's vectors, pooled as the method's `pooling` says."""

    reads_model = True
