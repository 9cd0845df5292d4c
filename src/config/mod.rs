//! Flags, environment and files become typed values here, and nowhere else.
