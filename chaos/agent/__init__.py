"""What is done where a node's kernel is: verbs, plain functions of JSON-able arguments and results.

Standard library only. On an embedded cluster, whose nodes are namespaces of this machine, verbs run in the process
that drives the fault; on any other cluster the same functions run in a small privileged pod on each node, made of
this very folder (`server.py`), and are called through the API server. `steadyset.chaos.reach` chooses.

To add a verb: write the function, its first parameter a `Node`, and add it to `VERBS` in `verbs.py`.
"""
