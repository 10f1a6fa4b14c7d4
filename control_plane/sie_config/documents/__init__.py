"""Documents of a registry: their differences, patches, manifests, and what they must not hold."""
