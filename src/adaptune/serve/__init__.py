"""One base model, many bundles, one server: pool, mixed passes, batches, HTTP."""
