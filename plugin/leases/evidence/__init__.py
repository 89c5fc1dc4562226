"""Evidence on whether the container that holds a lease is alive: libcni's results, the kernel, our own records."""
