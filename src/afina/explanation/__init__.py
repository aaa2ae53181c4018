"""Tell which words decided an answer, and whether that is so: ways of attributing, faithfulness, pages."""
