"""The results folder: the only package that knows its file names.

Every file is replaced atomically (written beside, flushed to disk, renamed), so readers and crashes
find either the old contents or the new. Stored results are not trusted when they are read, because
results get copied, edited and torn: a `StoredRun` names its problem.
"""
