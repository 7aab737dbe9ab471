"""The optimizer around a network: DeepSpeed ZeRO-2 on several workers, plain AdamW on one.

In: a module and its optimizer's settings. Out: steps, and a state by parameter name that any number of workers resumes.
"""
