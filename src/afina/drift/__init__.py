"""Keep what an adapter's rows were like when it was trained, and tell whether rows that came later are like them."""
