"""Commands of operators: the log file, replicas, tokens, dead letters."""
