"""Networks that describe a picture: tags, an aesthetic score, what kind of content it is.

In: pictures. Out: tags, scores or classes.
"""
