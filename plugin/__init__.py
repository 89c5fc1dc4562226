"""node-ipam: CNI IPAM plugins whose address ranges come from the Kubernetes Node object."""

__version__ = "0.2.0"
# The names that the archive is called by, as "type" of an "ipam".
TYPES = ("kube-node", "node-annotation")
