"""The fleet as heartbeats tell it: who lives, what is asked for, and where a request may go."""
