"""Rows to predict for, and predictions as files."""
