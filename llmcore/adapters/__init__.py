"""One system each, behind a port: SQL store, local queue, memory and Redis bus, host services, CloudiSENSE."""
