"""Whether the container that holds a lease is alive: what libcni, the kernel and our own records say of it."""
