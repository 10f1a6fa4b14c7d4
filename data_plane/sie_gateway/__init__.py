"""The edge of the cluster: takes requests over HTTP, routes them, queues jobs, gives back answers.

`routing`, `fleet`, `admission`, `requests`, `jobs` and `responses` are pure; `dispatch`, `watch`
and `inference` own what lives; `app` and `admin` are the two faces; `main` wires the process. The
edge owns no configuration and never calls the writer of the log on the path of a request.
"""
