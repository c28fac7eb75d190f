//! How log lines look, for people or as JSON, and which are wanted. Where they go is [`gateway::log`]'s, what is logged is for those who log.

use anyhow::Context;
use gateway::settings::{LogFormat, LogLevel};
use tracing::level_filters::LevelFilter;

/// Starts writing log lines; the first call counts.
pub(super) fn start(format: LogFormat, level: LogLevel) -> anyhow::Result<()> {
    gateway::log::start()
        .context("starting the log: the system gives no more threads; close some programs")?;
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Its own errors would go to standard error past the queue; that a line cannot be formatted is none to stop for.
    let lines = tracing_subscriber::fmt()
        .with_max_level(level)
        .log_internal_errors(false)
        .with_writer(|| gateway::log::Lines);
    // An error means that someone who embeds this logs already.
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}
