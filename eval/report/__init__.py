"""One offline HTML page from tables, pictures and charts.

In: a document of sections. Out: a page without outside addresses.
"""
