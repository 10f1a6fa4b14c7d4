"""The replica: a follower of the log as a pure machine, and what it takes in and gives out."""
