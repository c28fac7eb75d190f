//! The host against a scripted controller, in made-up time.

mod host;
mod script;
mod stream;
mod trouble;
