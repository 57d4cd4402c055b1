//! The configuration before the present one, once more: by order, or because visitors fare worse.

use std::sync::Arc;

use tokio::time::sleep;

use super::{Held, LOOK};
use crate::server::{
    Control, Trigger,
    history::{Attempt, History},
    probation::Outcome,
};

impl Control {
    /// Puts the configuration before the present one in force again.
    pub async fn roll_back(self: &Arc<Self>) -> Result<String, String> {
        let mut held = self.held.lock().await;
        self.go_back(&mut held, Trigger::Rollback, None).await
    }

    async fn go_back(
        self: &Arc<Self>,
        held: &mut Held,
        trigger: Trigger,
        reason: Option<String>,
    ) -> Result<String, String> {
        if self.shared.is_draining() || self.life.handover.is_over() {
            return Err("the edge is draining".to_owned());
        }
        let Some(kept) = self.history.before(trigger == Trigger::Probation) else {
            let why = "there was no other configuration before this one".to_owned();
            if let Some(reason) = reason {
                // Nobody waits for this answer.
                let why = format!("{reason}; {why}");
                self.not_back(trigger, None, &why);
                return Err(why);
            }
            return Err(why);
        };
        if let Err(why) = self.put_in_force(held, kept.config.clone(), None).await {
            let told = match &reason {
                None => why.clone(),
                Some(reason) => format!("{reason}; going back failed: {why}"),
            };
            self.not_back(trigger, History::text_of(&kept), &told);
            return Err(why);
        }
        let generation = self.current.load().generation;
        let attempt = Attempt {
            trigger,
            generation,
            restored: Some(kept.generation),
            text: History::text_of(&kept),
        };
        self.history.note(attempt, true, reason.as_deref());
        held.watched.in_force.clear();
        let metrics = &self.shared.metrics;
        self.history.went_back(&kept);
        self.probation.end();
        let by = if trigger == Trigger::Probation {
            "probation"
        } else {
            "order"
        };
        metrics.rollbacks.with_label_values(&[by]).inc();
        // What the files hold is not in force.
        metrics.reload_successful.set(0);
        let message = format!(
            "configuration {generation} is in force, which is {} again; {} still holds the one that was taken back",
            kept.generation,
            self.path.display()
        );
        tracing::warn!(%trigger, reason, "{message}");
        Ok(message)
    }

    /// Tells that there is no going back, and why.
    fn not_back(&self, trigger: Trigger, text: Option<Arc<str>>, why: &str) {
        let attempt = Attempt {
            trigger,
            generation: self.current.load().generation,
            restored: None,
            text,
        };
        self.history.note(attempt, false, Some(why));
        let reloads = &self.shared.metrics.reloads;
        reloads.with_label_values(&["failure"]).inc();
        tracing::error!(%trigger, "rollback refused, the present configuration stays in force:\n{why}");
    }
}

/// Looks whether visitors fare worse than before, and goes back then.
pub(in crate::server) async fn keep_watch(control: Arc<Control>) {
    loop {
        sleep(LOOK).await;
        let is_asked_for = !control.current.load().config.reload.probation.is_zero();
        let now = control.started.elapsed();
        if !is_asked_for && control.probation.left(now).is_none() {
            continue;
        }
        match control.probation.look(now, control.shared.metrics.totals()) {
            None => {}
            Some(Outcome::Passed(generation, is_known)) => {
                control.history.has_proven_itself();
                match is_known {
                    true => tracing::info!("configuration {generation} has passed its probation"),
                    false => tracing::warn!(
                        "the probation of configuration {generation} is over; there were too few requests to judge it"
                    ),
                }
            }
            Some(Outcome::Failed(generation, why)) => {
                let failed = control.history.present();
                let mut held = control.held.lock().await;
                let reason =
                    format!("configuration {generation} did not pass its probation: {why}");
                // Another may have taken its place while a reload went on; the same text read anew is no other.
                if control.history.is_still(&failed) {
                    // The outcome is in the log, in the metrics and in the history.
                    let _ = control
                        .go_back(&mut held, Trigger::Probation, Some(reason))
                        .await;
                    control.probation.end();
                } else {
                    tracing::warn!("{reason}; another has taken its place meanwhile");
                }
            }
        }
    }
}
