"""How fast a logit lens over every layer is, compared with plain transformers and TransformerLens.

All contestants get the same token ids, run in separate processes, and take turns round by round, so that a
machine that slows down slows them all. Before anything is timed their results are compared, and a contestant that
computes something else fails the run. The modules, in the order in which data goes through them:

- ``workloads``: contexts, built as a study builds them;
- ``exchange``: contexts and results as files; ``protocol``: commands to a process; ``workers``: the contestants' code;
- ``contestants``: who takes part; ``environment``: where TransformerLens lives;
- ``measure``: the rounds of one workload; ``compare``: whether all agree;
- ``flops``, ``machine``: how much work there was, and how fast this machine could do it;
- ``lines``: what is printed; ``table``: the same as Markdown;
- ``__main__``: the benchmark; ``growth``: the engine alone, on more and on longer contexts; ``console``: both.
"""
