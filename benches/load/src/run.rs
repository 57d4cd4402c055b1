//! A run: visitors come when they come, and go when they are done.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::{
    arrivals::Arrivals,
    attack::Attack,
    browser::Browser,
    catalog::Catalog,
    clock::Clock,
    connect::{Protocol, Target},
    machine::{self, Spent},
    plan::Choices,
    random::{Dice, Weighted},
    record::Record,
    report::{self, Report},
    scenario::{Phase, Scenario},
    visit::{Stage, Ticket, visit},
    warm::warm,
};

/// What the command line says about a run.
pub(crate) struct Settings {
    /// Other phases than the scenario's.
    pub(crate) phases: Vec<Phase>,
    pub(crate) seed: u64,
    /// Times the rates of the phases.
    pub(crate) scale: f64,
    /// The arrivals end after so many seconds, if before the phases do.
    pub(crate) seconds: Option<f64>,
    /// No line each second.
    pub(crate) quiet: bool,
}

/// What a run leaves.
pub(crate) struct Done {
    pub(crate) report: Report,
    pub(crate) orders: Vec<String>,
}

/// Plays a scenario. Needs a runtime with a set of local tasks.
pub(crate) async fn run(
    mut scenario: Scenario,
    target: Target,
    settings: &Settings,
) -> anyhow::Result<Done> {
    if !settings.phases.is_empty() {
        scenario.phases.clone_from(&settings.phases);
    }
    let protocols = protocols(&scenario, &target)?;
    let wanted = scenario.files();
    let file_limit = machine::raise_file_limit(wanted);
    if file_limit < wanted {
        eprintln!(
            "warning: {wanted} files will be open at once, and this process may have {file_limit}: raise its limit of open \
             files"
        );
    }
    let target = Rc::new(target);
    let first = match target.http {
        Some(_) => Protocol::Http1,
        None => Protocol::Http1Tls,
    };
    let learner = Browser::new(Rc::clone(&target), first, [127, 0, 0, 1].into());
    let catalog = Catalog::learn(&learner)
        .await
        .context("the shop cannot be learned from")?;
    let kept = warm(&scenario, &catalog, &target).await?;

    let clock = Rc::new(Clock::new().context("no timer")?);
    let driver = {
        let clock = Rc::clone(&clock);
        tokio::task::spawn_local(async move { clock.run().await })
    };
    let mut dice = Dice::new(settings.seed);
    let seconds = settings.seconds.unwrap_or(f64::MAX).min(scenario.seconds());
    let start = Instant::now();
    let unwelcome = scenario
        .visitors
        .iter()
        .map(|kind| kind.unwelcome)
        .collect();
    let mut record = Record::new(start, unwelcome)?;
    for target in &kept {
        record.keep(target);
    }
    let stage = Rc::new(Stage {
        choices: Choices::new(&scenario, &catalog),
        record: RefCell::new(record),
        end: Cell::new(start + Duration::from_secs_f64(seconds)),
        inside: Cell::new(0),
        waiting: Cell::new(0),
        trouble: RefCell::default(),
        scenario,
        catalog,
        target,
        clock,
    });
    let began = Spent::now();
    let attackers = &stage.scenario.attackers;
    let attack = Attack::begin(attackers, &stage.target, start, stage.end.get(), &mut dice)
        .context("no thread for the attackers")?;
    let attack = Rc::new(attack);
    let ticker = {
        let (stage, attack) = (Rc::clone(&stage), Rc::clone(&attack));
        tokio::task::spawn_local(tick(stage, attack, start, settings.quiet))
    };
    tokio::select! {
        () = arrivals(&stage, start, settings.scale, &protocols, dice) => {
            stage.clock.until(stage.end.get()).await;
        }
        _ = tokio::signal::ctrl_c() => stage.end.set(Instant::now()),
    }
    let ended = Instant::now();
    let spent = Spent::now().since(began);
    leave(&stage).await;
    let held = attack.end();
    ticker.abort();
    driver.abort();
    if let Some(error) = stage.trouble.borrow_mut().take() {
        return Err(error);
    }
    let mut record = stage.record.borrow_mut();
    record.close_second();
    let run = report::Run {
        scenario: &stage.scenario,
        settings,
        seconds: (ended - start).as_secs_f64(),
        spent,
        unsettled: stage.inside.get(),
        file_limit,
    };
    let mut orders: Vec<String> = record.orders.iter().cloned().collect();
    orders.sort_unstable();
    Ok(Done {
        report: report::of(&run, &record, &held)?,
        orders,
    })
}

/// Draws protocols by their shares, all of which the edge must have an address for.
fn protocols(scenario: &Scenario, target: &Target) -> anyhow::Result<Weighted> {
    let shares = &scenario.protocols;
    let shares = [shares.http1, shares.http1_tls, shares.h2, shares.h2c];
    for (protocol, share) in Protocol::ALL.into_iter().zip(shares) {
        if share > 0.0 && target.address(protocol).is_none() {
            let option = if protocol.is_tls() {
                "--https"
            } else {
                "--http"
            };
            bail!(
                "the scenario has visitors over {}, and {option} is not given",
                protocol.name()
            );
        }
    }
    for attacker in &scenario.attackers {
        if target.address(attacker.protocol).is_none() {
            bail!("an attacker of the scenario has nowhere to go: give --http and --https");
        }
    }
    Ok(Weighted::new(shares))
}

async fn arrivals(
    stage: &Rc<Stage>,
    start: Instant,
    scale: f64,
    protocols: &Weighted,
    mut dice: Dice,
) {
    let kinds = Weighted::new(stage.scenario.visitors.iter().map(|kind| kind.share));
    let times = Arrivals::new(&stage.scenario.phases, scale, dice.branch());
    if stage.scenario.visitors.is_empty() {
        return;
    }
    for (number, at) in times.enumerate() {
        let arrival = start + Duration::from_secs_f64(at);
        if arrival >= stage.end.get() {
            return;
        }
        // Drawn in any case, so that who is turned away changes nothing for those who come later.
        let mut own = dice.branch();
        let kind = kinds.draw(&mut own);
        let ticket = Ticket {
            number: number as u64,
            kind,
            protocol: Protocol::ALL[protocols.draw(&mut own)],
            from: stage.scenario.visitors[kind].addresses.draw(&mut own),
            arrival,
        };
        stage.clock.until(arrival).await;
        let mut record = stage.record.borrow_mut();
        if stage.inside.get() >= stage.scenario.visitors_max {
            record.turned_away += 1;
            continue;
        }
        record.visitors += 1;
        drop(record);
        stage.inside.set(stage.inside.get() + 1);
        tokio::task::spawn_local(visit(Rc::clone(stage), ticket, own));
    }
}

/// Lets those inside have the answers they wait for.
async fn leave(stage: &Stage) {
    let patience = stage.end.get() + stage.scenario.timeout.0 + Duration::from_millis(500);
    while stage.inside.get() > 0 && Instant::now() < patience {
        stage
            .clock
            .until(Instant::now() + Duration::from_millis(20))
            .await;
    }
}

/// Writes down each second, and says it.
async fn tick(stage: Rc<Stage>, attack: Rc<Attack>, start: Instant, quiet: bool) {
    for number in 1_u32.. {
        stage
            .clock
            .until(start + number * Duration::from_secs(1))
            .await;
        attack.tick();
        let mut record = stage.record.borrow_mut();
        let ended = record.tick(Instant::now(), stage.inside.get(), stage.waiting.get());
        if let Some(second) = ended.filter(|_| !quiet) {
            report::progress(number, second);
        }
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
