"""Watch an adapter after its release: rows that came since are compared with those it was tested on."""
