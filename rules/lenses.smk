rule train_lens:
    input:
        unpack(PLAN.inputs("train_lens")),
    output:
        **paths.OUTPUTS["train_lens"],
    log:
        paths.log("train_lens"),
    benchmark:
        paths.benchmark("train_lens")
    conda:
        "../envs/torch.yaml"
    # One, whatever cores there are: another number adds in another order, and so trains a slightly other lens.
    threads: 1
    resources:
        **GPU_OF_A_MODEL,
        mem_mb=grows(6000),
        runtime=grows(240),
    params:
        job=PLAN.job("train_lens"),
        versions=PLAN.versions("train_lens"),
        # A function of the input makes no job run again: more questions must not train the lens anew.
        check=lambda wildcards, input: PLAN.check(),
    script:
        "../workflow_scripts/train_lens.py"
