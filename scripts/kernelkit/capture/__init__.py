"""What a real run of SGLang called, and what is made of it.

recording and recorder write and read calls, sglang_pass runs SGLang, normalize makes definitions of
trace dumps, sanitize makes workloads of recordings and level-10 dumps.
"""
