"""Jobs on their way in: which models are pulled for, and each delivery until it waits in a lane."""
