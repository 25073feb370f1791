//! The store: index, segments, items. Pure; one writer, many readers.
