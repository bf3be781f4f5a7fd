"""Programs that are always ended, whole: also when they misbehave, and when their owner is killed.

guard   a program that runs another one and ends all of its descendants
group   the owner's side: start, wait, stop, read the log
"""
