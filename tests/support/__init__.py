"""What the tests are made of: nodes and clusters, servers and parts to run plugins with."""
