"""Chat templates: how the messages of a dialogue become one text, and which of it is learned."""
