"""The results folder: the only package that knows its file names.

Every file is replaced atomically (written beside, flushed to disk, renamed), so that a reader and
a crash find either the old contents or the new. What is read back is checked as if it came from
anybody, because results get copied, edited and torn: a `StoredRun` says what is wrong with it.
"""
