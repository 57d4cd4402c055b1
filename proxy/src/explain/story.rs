//! The steps from top to bottom.

mod client;
mod outcome;

use std::net::Ipv4Addr;

use self::{
    client::sni,
    outcome::{rejected, said},
};
use super::{
    Explanation, Outcome, Question, Scene, Step, VERSION, Wrong, limits, question::Request,
    recorder::Recorder, sent::Visitor, span,
};
use crate::{
    admit::client::is_trusted,
    edge::{Connection, Decision, Passed, RequestView, decide::decide_observed},
};

pub(super) fn tell(scene: &Scene<'_>, question: &Question) -> Result<Explanation, Wrong> {
    let request = question.read(scene.snapshot)?;
    let mut story = Story {
        scene,
        steps: Vec::new(),
        outcome: Outcome::default(),
        by: "the upstream",
    };
    story.run(question, &request);
    story.outcome.said = said(&story.outcome, scene.is_running, story.by);
    Ok(Explanation {
        version: VERSION,
        source: if scene.is_running { "running" } else { "file" }.to_owned(),
        generation: scene.is_running.then_some(scene.snapshot.generation),
        method: request.method.to_string(),
        url: question.url.clone(),
        steps: story.steps,
        outcome: story.outcome,
    })
}

struct Story<'a> {
    scene: &'a Scene<'a>,
    steps: Vec<Step>,
    outcome: Outcome,
    /// Who answers where the store does not.
    by: &'static str,
}

impl<'a> Story<'a> {
    fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn run(&mut self, question: &Question, request: &Request) {
        let snapshot = self.scene.snapshot;
        let listener = self.listener(request);
        let (address, redirects) = match listener {
            Some(listener) => {
                let port = listener.redirect_to_https.then_some(listener.https_port);
                (listener.address, port)
            }
            None => ((Ipv4Addr::UNSPECIFIED, 0).into(), None),
        };
        let connection = Connection {
            peer: (request.peer, 0).into(),
            scheme: request.scheme,
            redirect_to_https: redirects,
            sni: sni(request),
            listener: address,
            proof: self.proof(request, address),
        };
        let head = match &request.head {
            Ok(head) => head,
            Err(refusal) => {
                let said = format!("refused as it is read: {}", refusal.reason);
                self.step(Step::new("request", said).with("target", request.target.as_str()));
                self.outcome = rejected(refusal.status, refusal.reason, None);
                return;
            }
        };
        let raw = head.fields(&request.bytes);
        let fields = raw.to_map();
        let client = self.client(question, request, listener, &fields);
        let view = RequestView {
            method: &head.method,
            authority: &request.authority,
            target: head.target(&request.bytes),
            fields: &raw,
            body: head.body,
            client,
            connection: &connection,
        };
        let trusted = is_trusted(request.peer, &snapshot.bounds.trusted_proxies);
        let visitor = Visitor {
            head,
            bytes: &request.bytes,
            authority: &request.authority,
            client,
            peer: request.peer,
            trusted,
            scheme: request.scheme,
            proof: connection.proof.as_deref(),
            id: Visitor::id(&fields, trusted),
        };
        let mut recorder = Recorder::default();
        let mut decision = self.decide(&view, Passed::default(), &mut recorder);
        if let Decision::Delay(delay) = &decision {
            // What comes behind the wait, as far as it can be seen from here. A second one may follow at the limits
            // that count what the store does not answer.
            let mut waits = vec![delay.wait];
            let mut passed = delay.passed.clone();
            let mut limit = passed.limit.clone();
            for _ in 0..2 {
                decision = self.decide(&view, passed.clone(), &mut recorder);
                let Decision::Delay(next) = &mut decision else {
                    break;
                };
                waits.push(next.wait);
                limit = next.passed.limit.clone();
                passed = next.passed.clone();
            }
            self.outcome.delay_ms = Some(waits.iter().copied().map(limits::millis).sum());
            self.outcome.limit = limit.map(|limit| limit.decision.as_str().to_owned());
        }
        self.told(&view, &visitor, &fields, &recorder, decision);
    }

    fn decide(&self, view: &RequestView<'_>, passed: Passed, recorder: &mut Recorder) -> Decision {
        let Scene {
            snapshot,
            shared,
            now,
            ..
        } = *self.scene;
        decide_observed(snapshot, shared, view, now, passed, recorder)
    }

    fn request(&mut self, view: &RequestView<'_>, recorder: &Recorder) {
        let (Some(target), Some(authority)) = (&recorder.target, &recorder.authority) else {
            return;
        };
        let mut step = Step::new("request", format!("{target} of {authority}"))
            .with("target", target.as_str())
            .with("authority", authority.as_str());
        if target != view.target {
            step = step.line(format!("sent as {}", view.target));
        }
        if authority != view.authority {
            step = step.line(format!("sent to {}", view.authority));
        }
        self.step(step);
    }

    fn room(&mut self, recorder: &Recorder, decision: &Decision) {
        let Some((room, state)) = &recorder.room else {
            return;
        };
        let name = room.name;
        let step = |said: String| Step::new("room", said).with("room", name);
        if !self.scene.is_running {
            let said = format!("{name}: who is inside is unknown; it is taken to be empty");
            return self.step(step(said));
        }
        let figures = room.figures();
        let word = match *state {
            "inside" => "the visitor is inside",
            "admitted" => "the visitor is let in",
            "guest" => "goes on, and is counted when it comes back with its cookie",
            "passing" => "goes on, and is not counted",
            "early" => "waits for the opening",
            _ => "waits",
        };
        let mut told = step(format!("{name}: {word}"))
            .with("state", *state)
            .with("inside", figures.inside)
            .with("capacity", room.capacity())
            .with("waiting", figures.waiting)
            .line(format!(
                "{} of {} inside, {} wait",
                figures.inside,
                room.capacity(),
                figures.waiting
            ));
        if let Decision::Wait(wait) = decision
            && let Some(place) = &wait.notice.look.told
        {
            let time = std::time::Duration::from_millis(place.wait);
            told = told.with("wait_ms", place.wait).with("place", place.place);
            told = told.line(match place.place {
                Some(place) => format!("place {place}, {} to go", span(time)),
                None => format!("{} to go", span(time)),
            });
        }
        self.step(told);
    }
}
