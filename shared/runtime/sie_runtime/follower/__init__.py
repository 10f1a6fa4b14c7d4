"""The follower: a replica kept current by stream, range and snapshot, and its reports."""
