"""What the server costs beside its peers: CPU time of the server process alone, ratios within one run."""
