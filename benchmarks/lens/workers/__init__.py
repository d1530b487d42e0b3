"""The contestants' own code, each the main module of a process (``benchmarks.lens.protocol``)."""
