"""What a study will take, before it starts: contexts, tokens, time, memory and disk, against what the machine has.

Some questions are built and counted, and a short pass is timed; the rest is multiplied. How it is estimated may be
changed without asking: nothing here reaches a record.
"""
