//! What a folder of certificates costs: reading it, looking whether it has changed, finding a name, and memory.
//!
//! `cargo run --release -p dhal --example certificate_names -- 10000`

use std::{error::Error, fs, hint::black_box, sync::Arc, time::Instant};

use dhal::{
    config::{self, Surroundings},
    listen::tls::{Certificates, Files, Tickets},
};
use rcgen::{CertificateParams, KeyPair};

const LOOKUPS: usize = 2_000_000;

fn resident() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.ok_or("no VmRSS")?.parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = match std::env::args().nth(1) {
        Some(count) => count.parse()?,
        None => 10_000,
    };
    let folder = std::env::temp_dir().join(format!("dhal-certificates-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let name = |n: usize| format!("shop{n}.example");
    for n in 0..count {
        let key = KeyPair::generate()?;
        let names = vec![name(n), format!("*.{}", name(n))];
        let signed = CertificateParams::new(names)?.self_signed(&key)?;
        fs::write(folder.join(name(n) + ".pem"), signed.pem())?;
        fs::write(folder.join(name(n) + ".key"), key.serialize_pem())?;
    }
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = true\n[[certificates]]\nfolder = \"{}\"\n\
         [upstreams.shop]\nservers = [\"127.0.0.1:1\"]\n[[routes]]\nupstream = \"shop\"\n",
        folder.display()
    );
    let env = |_: &str| None;
    let outside = Surroundings {
        folder: &folder,
        env: &env,
    };
    let config = config::parse("example", &text, &outside)?.config;
    let (files, tickets) = (Arc::new(Files::default()), Tickets::default());
    let before = resident()?;
    let began = Instant::now();
    let certificates = Certificates::build(&config, &files, &tickets, &Arc::default())?;
    println!("{count} pairs: read in {:?}", began.elapsed());
    println!("  {} KiB of memory", resident()?.saturating_sub(before));
    let began = Instant::now();
    let again = Certificates::build(&config, &files, &tickets, &Arc::default())?;
    println!("  for a reload in {:?}", began.elapsed());
    // What is young is read once more; after that it is looked at only.
    std::thread::sleep(std::time::Duration::from_secs(4));
    again.refresh();
    let began = Instant::now();
    again.refresh();
    println!("  looked at in {:?}", began.elapsed());
    let table = certificates.table();
    for (what, prefix) in [("as it is", ""), ("by wildcard", "www.")] {
        let names: Vec<String> = (0..count).map(|n| format!("{prefix}{}", name(n))).collect();
        let began = Instant::now();
        for n in 0..LOOKUPS {
            // A stride that visits them in no order that a cache likes.
            black_box(table.named(black_box(&names[n * 7_919 % count])));
        }
        let each = began.elapsed() / u32::try_from(LOOKUPS)?;
        println!("  a name found {what}: {each:?}");
    }
    fs::remove_dir_all(&folder)?;
    Ok(())
}
