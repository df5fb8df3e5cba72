"""The layer builder: a recipe and a target in, a Lambda layer out; see ``python -m layer --help``.

It needs Python 3.11 and pip, and nothing else, because ``sam build`` starts it with whatever
Python there is.
"""
