"""The results folder: the only package that knows its file names.

Every file is replaced atomically (written beside, flushed to disk, renamed), so readers and crashes
find either the old contents or the new; what only says how far a run is, or who works on it, is not
flushed. Stored results are not trusted when they are read, because results get copied, edited and
torn: a `StoredRun` names its problem.
"""
