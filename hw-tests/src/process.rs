//! The real program as processes, driven from outside over TCP.
//!
//! Owns starting, killing and reaching them. What they are put through is up to the programs in `bin`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use mesh_agent::api::{Hello, Name};
use mesh_agent::{Client, Endpoint};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Longer than anything takes that ever ends, in an emulated machine.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A gateway's process and where agents find it.
#[derive(Debug)]
pub struct Gateway {
    /// The program.
    pub program: PathBuf,
    /// What `--adapter` gets.
    pub adapter: String,
    /// Its data directory.
    pub folder: PathBuf,
    /// The TCP port for agents.
    pub port: u16,
    process: Option<Child>,
}

impl Gateway {
    /// Two gateways of one network in `folder`, neither started.
    ///
    /// # Errors
    /// What the program says against it.
    pub async fn pair(program: &Path, adapters: [String; 2], folder: &Path) -> anyhow::Result<[Self; 2]> {
        let [home_a, home_b] = ["a", "b"].map(|name| folder.join(name));
        let [path_a, path_b] = [&home_a, &home_b].map(|home| home.display().to_string());
        run(program, &["init", "--network", "day", "--name", "a", "--data-dir", &path_a], "").await?;
        let invitation = run(program, &["invite", "b", "--data-dir", &path_a], "").await?;
        run(program, &["init", "--invite", "-", "--data-dir", &path_b], &invitation).await?;
        let gateway = |adapter, folder, port| Self {
            program: program.to_owned(),
            adapter,
            folder,
            port,
            process: None,
        };
        let [a, b] = adapters;
        Ok([gateway(a, home_a, 17_701), gateway(b, home_b, 17_702)])
    }

    /// Starts it; it need not be ready yet.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let process = Command::new(&self.program)
            .args(["--adapter", &self.adapter, "--listen", &format!("127.0.0.1:{}", self.port), "--data-dir"])
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", self.program.display()))?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// When the system does not let it be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// An agent's session, once the gateway is ready.
    ///
    /// # Errors
    /// When it is not ready for [`PATIENCE`].
    pub async fn agent(&self, name: &str) -> anyhow::Result<Client> {
        let endpoint: Endpoint = format!("127.0.0.1:{}", self.port).parse().map_err(anyhow::Error::msg)?;
        let connected = async {
            loop {
                match Client::connect(&endpoint, Hello::new(Name::new(name)?)).await {
                    Ok(client) => return anyhow::Ok(client),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        timeout(PATIENCE, connected)
            .await
            .with_context(|| format!("{name} finds no gateway on port {}", self.port))?
    }
}

/// Runs a program to its end; what it printed.
///
/// # Errors
/// When it cannot be run, or fails.
pub async fn run(program: &Path, arguments: &[&str], input: &str) -> anyhow::Result<String> {
    use tokio::io::AsyncWriteExt;
    let mut process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    if let Some(mut stdin) = process.stdin.take() {
        stdin.write_all(input.as_bytes()).await?;
    }
    let output = process.wait_with_output().await?;
    ensure!(output.status.success(), "{} {arguments:?} ended with {}", program.display(), output.status);
    Ok(String::from_utf8(output.stdout)?)
}
