"""The history of the schema, run by `storage.migrate`; no other part of Easel imports it."""
