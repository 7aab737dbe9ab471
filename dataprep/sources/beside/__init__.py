"""What lies beside pictures and says what is known of them: side files, tables with file names, members of one sample.

In: a listing, or the members of an archive. Out: which facts and drawings belong to which picture.
"""
