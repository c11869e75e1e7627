//! Workloads against any address that speaks RESP.
