"""What a build or a training will cost before anyone submits it: `irodori plan`.

In: a recipe, rows, a cluster file, measured rates. Out: hours, money, bytes and requests, each with what it rests on.
"""
