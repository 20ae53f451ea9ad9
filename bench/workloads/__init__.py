"""What is measured: problems, and how each library solves them.

A file for each kind of workload; ``registry.py`` lists them all, with their sizes. A new workload
is an entry there.
"""
