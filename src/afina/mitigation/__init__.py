"""Ways against bias in what is learned, one file each: rows weighed, changed or drawn so that groups differ less."""
