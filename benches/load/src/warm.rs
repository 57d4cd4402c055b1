//! What is asked for once before the start, so that a run does not measure an empty store.

use std::{cell::RefCell, rc::Rc};

use anyhow::{Context, bail};
use http::{HeaderValue, Method, header};

use crate::{
    browser::{Ask, Browser},
    catalog::Catalog,
    connect::{Protocol, Target},
    cookies::Cookies,
    record::Stored,
    room,
    scenario::{Scenario, Warm},
};

/// Pages asked for at once.
const AT_ONCE: u8 = 4;

/// Pages asked for from one address, or a limit for one visitor would end it.
const PER_ADDRESS: usize = 50;

/// Asks for what the scenario wants to be stored, once for each scheme that visitors use: a store keeps the pages of
/// both apart. Returns what the edge said it has now.
pub(crate) async fn warm(
    scenario: &Scenario,
    catalog: &Catalog,
    target: &Rc<Target>,
) -> anyhow::Result<Vec<String>> {
    let mut kept = Vec::new();
    let shares = &scenario.protocols;
    if shares.http1_tls + shares.h2 > 0.0 {
        kept.extend(ask_for(targets(scenario, catalog), target, Protocol::Http1Tls).await?);
    }
    if shares.http1 + shares.h2c > 0.0 {
        kept.extend(ask_for(targets(scenario, catalog), target, Protocol::Http1).await?);
    }
    Ok(kept)
}

fn targets(scenario: &Scenario, catalog: &Catalog) -> Vec<String> {
    let mut targets = Vec::new();
    if scenario.warm.contains(&Warm::Pages) {
        targets.extend([
            "/".to_owned(),
            "/products".to_owned(),
            catalog.style_sheet.clone(),
        ]);
        targets.extend(
            catalog
                .categories
                .iter()
                .map(|category| format!("/categories/{category}")),
        );
        targets.extend(
            catalog
                .products
                .iter()
                .map(|product| format!("/products/{}", product.slug)),
        );
    }
    if scenario.warm.contains(&Warm::Images) {
        targets.extend(
            catalog
                .products
                .iter()
                .map(|product| format!("/images/{}.png", product.slug)),
        );
    }
    targets
}

async fn ask_for(
    targets: Vec<String>,
    target: &Rc<Target>,
    protocol: Protocol,
) -> anyhow::Result<Vec<String>> {
    let targets = Rc::new(RefCell::new(targets));
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..AT_ONCE {
        let targets = Rc::clone(&targets);
        let target = Rc::clone(target);
        workers.spawn_local(async move {
            let (mut kept, pass) = (Vec::new(), Cookies::default());
            for turn in 0_u8.. {
                let from = [127, 200, number, turn].into();
                let browser = Browser::new(Rc::clone(&target), protocol, from);
                for _ in 0..PER_ADDRESS {
                    let Some(path) = targets.borrow_mut().pop() else {
                        return Ok(kept);
                    };
                    let ask = Ask {
                        method: Method::GET,
                        target: path,
                        fields: vec![(header::ACCEPT, HeaderValue::from_static("*/*"))],
                        body: bytes::Bytes::new(),
                    };
                    match room::ask(&browser, &ask, &pass).await {
                        Ok(answer) if answer.status.is_success() => {
                            if Stored::of(&answer.fields).is_kept() {
                                kept.push(ask.target);
                            }
                        }
                        Ok(answer) => bail!("{}: {}", ask.target, answer.status),
                        Err(fate) => bail!("{}: {}", ask.target, fate.name()),
                    }
                }
            }
            bail!("more to warm than addresses to do it from")
        });
    }
    let mut kept = Vec::new();
    while let Some(ended) = workers.join_next().await {
        kept.extend(ended?.context("before the start")?);
    }
    Ok(kept)
}
