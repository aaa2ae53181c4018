"""What runs gave: results.jsonl and predictions, read, written, compared and judged; loads no torch."""
