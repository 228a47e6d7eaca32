"""The store: operations as statements, and the database that runs them."""
