//! Transcripts, peers and real clients: what holds the server to the truth.
