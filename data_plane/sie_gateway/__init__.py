"""The edge of the cluster: takes requests over HTTP, routes them, queues jobs, gives back answers.

A request comes in at `http` in the form of one of the `faces` and goes its way in `request`. It is
routed by what `fleet` and `leases` know. The edge owns no configuration and never calls the writer
of the log on the path of a request. `main` wires.
"""
