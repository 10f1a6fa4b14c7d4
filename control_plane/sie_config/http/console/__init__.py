"""The console: its pages, its sign-in, its way to the gateway, and the feeds that it reads."""
