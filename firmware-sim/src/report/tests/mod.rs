//! t
mod synthetic;
