"""The addresses that a Node gives to a network: CIDRs and annotations in, host-local's ranges out."""
