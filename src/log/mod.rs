//! The log: frames, entries, recovery. Bytes only, no files.
