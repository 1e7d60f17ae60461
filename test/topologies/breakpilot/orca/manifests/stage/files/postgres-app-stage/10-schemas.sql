-- Runs once, on an empty data directory.
create schema if not exists tenant_registry;
create schema if not exists compliance;
