"""Read, write, compare and judge what runs gave: results.jsonl and predictions; loads no torch."""
