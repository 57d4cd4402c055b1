//! `dhal dev-cert`: a certificate for development, signed by itself.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context;
use clap::Args;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};

use super::say;

/// Where and for whom.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder for `dev.pem` and `dev.key`.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub(super) out: PathBuf,
    /// Name or address it is for; may be repeated.
    #[arg(long = "name", value_name = "NAME", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()])]
    pub(super) names: Vec<String>,
    /// Replace a pair that is there.
    #[arg(long)]
    pub(super) force: bool,
}

pub(super) fn dev_cert(options: &Options) -> anyhow::Result<()> {
    let (cert, key) = (options.out.join("dev.pem"), options.out.join("dev.key"));
    if !options.force && cert.exists() && key.exists() {
        return say!(
            "{} is there already; --force makes a new one",
            cert.display()
        );
    }
    make(&cert, &key, &options.names)?;
    say!(
        "{} and {} for {}",
        cert.display(),
        key.display(),
        options.names.join(", ")
    )
}

/// Makes a pair that is valid for a year, the key readable by its owner only.
pub(super) fn make(cert: &Path, key: &Path, names: &[String]) -> anyhow::Result<()> {
    let pair = KeyPair::generate().context("cannot make a key")?;
    let mut params =
        CertificateParams::new(names).context("a name cannot stand in a certificate")?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "Dhal development");
    params.distinguished_name = subject;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(3600)).into();
    params.not_after = (now + std::time::Duration::from_secs(365 * 86_400)).into();
    let signed = params
        .self_signed(&pair)
        .context("cannot sign the certificate")?;
    if let Some(folder) = cert.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    write(key, 0o600, &pair.serialize_pem())
        .with_context(|| format!("cannot write {}", key.display()))?;
    write(cert, 0o644, &signed.pem()).with_context(|| format!("cannot write {}", cert.display()))
}

fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    // A file that is there would keep its own mode.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())
}
