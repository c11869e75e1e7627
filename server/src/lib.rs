//! An embeddable session server that speaks the Redis protocol.
