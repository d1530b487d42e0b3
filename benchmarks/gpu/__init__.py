"""``make gpu-check``: does everything that this project does on a GPU work there, and how fast is it?

One program for a bare machine with one CUDA GPU and no network. It takes eight minutes at most. Every part has a time
limit and a process of its own, so that a part that crashes or runs out of time takes no other part's results with it.
The modules, in the order in which data goes through them:

- ``plan``: the parts and their time limits;
- ``wheels``: libraries that the machine lacks, downloaded elsewhere;
- ``runner``: one process a part; ``process``: what runs in it; ``parts``: what each part measures;
- ``device``: everything that is asked of the GPU itself; ``rates``: how fast it multiplies matrices;
- ``shapes``, ``contexts``: models with random weights, and contexts for them;
- ``rows``: what a lens says, and whether two of them say the same; ``engines``: the project's own lens;
  ``plain``: the lens in plain transformers; ``reference``: any family's own code on the CPU;
- ``report``: the results as JSON and as Markdown tables;
- ``__main__``: the command line.
"""
