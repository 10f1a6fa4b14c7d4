"""The forward of an encoder: token ids in, hidden states out, packed where the probe allows it."""
