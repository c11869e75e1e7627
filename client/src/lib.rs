//! Typed web sessions on Cloakroom, Redis, Valkey or ElastiCache.
