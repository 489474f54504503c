//! The shell executor
