"""Cases -> runs -> comparison -> verdict: whether a file computes what the eager model computes."""
