"""Commands that read and change the configuration."""
