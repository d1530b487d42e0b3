"""Contexts: which documents a prompt has, in which order, in which words.

Everything here decides what a model reads: a change makes other contexts, and so a new extraction.
Error messages may be changed freely.
"""
