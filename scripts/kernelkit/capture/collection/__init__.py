"""From definitions to workloads: choose, serve and drive, sanitise, evaluate, submit.

choosing     definitions, the model, the passes that show them
prompts      what is asked: random lengths, or conversations of a file
server       an SGLang server: port, readiness by health checks, end
driving      requests with concurrency and arrival rate
budget       disk use: estimated before, watched while, stopped in time
collecting   the record phase
phases       which phases are done, so that --resume goes on
evaluation   the baseline on what was collected
submission   branch, commit and text of the pull request
"""
