"""HTTP of the gateway beside inference: the application, admin, views, OpenAPI."""
