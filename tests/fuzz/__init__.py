"""Anything in place of what should be there: requests, Nodes, kubeconfigs, answers of servers and of host-local."""
