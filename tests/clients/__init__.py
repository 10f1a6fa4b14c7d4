"""Programs of users of published clients, each run by an interpreter that has that client.

Each gets a gateway's address, checks what its client makes of the answers, and says the versions
of what it used. The gateway's worker is an echo: a text's vector begins with its length.
"""
