//! The commands that this program was built without. They are still known, so that whoever types one is told why it is not there.

use std::ffi::OsString;

use clap::Args;

/// Not in this program, which was built without the simulator
#[derive(Args, Debug)]
#[command(hide = true)]
pub(in crate::cli) struct DemoArgs {
    #[arg(hide = true, num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    _any: Vec<OsString>,
}

/// Not in this program, which was built without the simulator
#[derive(Args, Debug)]
#[command(hide = true)]
pub(in crate::cli) struct PlayArgs {
    #[arg(hide = true, num_args = 0.., trailing_var_arg = true, allow_hyphen_values = true)]
    _any: Vec<OsString>,
}
