"""Documents of a registry: differences, patches, manifests, and what they must not hold."""
