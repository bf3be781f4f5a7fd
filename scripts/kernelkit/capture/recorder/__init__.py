"""Records what a process asks of FlashInfer, without changing FlashInfer or SGLang.

`site/` on PYTHONPATH loads it into every Python process (engine, scheduler, TP workers):

    site/sitecustomize.py   starts it, then hands over to the sitecustomize that was there before
    loading                 import hook: wraps an API when its module has been executed, so that
                            `from flashinfer import X` in SGLang binds the wrapped one
    wrapping                functions and planned classes become observed ones
    observer                the hot path: key, copies of index tensors, queue
    values                  arguments to keys and to JSON; which tensors' values are kept
    sink                    the writer's thread: one file per process
    steps                   SGLang's step, forward mode and layer
    settling                steps that are like others before: what of them needs no look
    settings                what the parent asks for: a JSON file named by KERNELKIT_RECORDER

Limits. Calls made while a CUDA graph is captured are counted, not recorded, and a replay makes no
calls at all: run SGLang with CUDA graphs off. Of a long row of like steps (decode, as many
requests) the first 32 are kept whole and then one in 4 (`Settings.keep_steps`, `then_every`): the
others would cost more than they tell. What was left out is counted, and told when workloads are
made of the rest. A process killed loses at most the last half second.
"""
