"""Open what is timed, each in a process of its own: an adapter here, a folder in transformers, a file in llama.cpp.

Each module's `opened` gives what makes of a batch a call that can be repeated (`export/costs.py` says how batches are).
"""
