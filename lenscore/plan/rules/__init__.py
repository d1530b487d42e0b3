"""The jobs of the workflow: a module a rule, named like the rule and its script.

A field decides the job's result, so a change of it runs the job again. Adding one needs no more than its value in
``lenscore.plan.study_jobs``.
"""
