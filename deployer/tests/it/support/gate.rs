//! What stands between jobs and MAAS: it passes requests on, counts them, and spoils those that a
//! test names.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::http::{Answer, Asked, HttpServer};
use super::{Maas, World};

/// What becomes of a request.
#[derive(Clone)]
pub(crate) enum Spoil {
    /// It does not reach MAAS, and this is answered.
    Instead(Answer),
    /// It reaches MAAS, whose answer is lost; this is answered.
    After(Answer),
}

struct Rule {
    /// As [`Asked::call`] has it.
    call: String,
    fault: Spoil,
    left: usize,
}

/// The gate.
pub(crate) struct Gate {
    pub(crate) http: HttpServer,
    rules: Arc<Mutex<Vec<Rule>>>,
    to: Arc<Mutex<String>>,
}

impl Gate {
    /// A gate before `maas`, which jobs go through from now on.
    pub(crate) fn before(world: &mut World, maas: &Maas) -> Self {
        let rules: Arc<Mutex<Vec<Rule>>> = Arc::default();
        let to = Arc::new(Mutex::new(maas.url.clone()));
        let (mine, target) = (Arc::clone(&rules), Arc::clone(&to));
        let http = HttpServer::start(move |asked| {
            let to = target.lock().expect("target").clone();
            match fault(asked, &mut mine.lock().expect("rules")) {
                Some(Spoil::Instead(answer)) => answer,
                Some(Spoil::After(answer)) => {
                    pass(asked, &to);
                    answer
                }
                None => pass(asked, &to),
            }
        });
        world.settings["region"]["url"] = json!(format!("{}/MAAS", http.url()));
        Self { http, rules, to }
    }

    /// Spoils the next `times` requests of a call.
    pub(crate) fn spoil(&self, call: &str, fault: Spoil, times: usize) {
        let rule = Rule { call: call.to_owned(), fault, left: times };
        self.rules.lock().expect("rules").push(rule);
    }

    /// Leads to another MAAS from now on.
    pub(crate) fn lead_to(&self, maas: &Maas) {
        *self.to.lock().expect("target") = maas.url.clone();
    }

    /// Every request so far that changes something, and the number of all.
    pub(crate) fn writes(&self) -> (Vec<String>, usize) {
        let asked = self.http.asked();
        let writes = asked.iter().filter(|one| one.method != "GET").map(Asked::call);
        (writes.collect(), asked.len())
    }

    /// How often a call was made.
    pub(crate) fn count(&self, call: &str) -> usize {
        self.http.asked().iter().filter(|one| one.call() == call).count()
    }
}

fn fault(asked: &Asked, rules: &mut [Rule]) -> Option<Spoil> {
    let rule = rules.iter_mut().find(|rule| rule.left > 0 && rule.call == asked.call())?;
    rule.left -= 1;
    Some(rule.fault.clone())
}

fn pass(asked: &Asked, to: &str) -> Answer {
    let address = to.trim_start_matches("http://").split('/').next().expect("address");
    exchange(asked, address).unwrap_or(Answer::Cut)
}

fn exchange(asked: &Asked, address: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    let mut request =
        format!("{} {} HTTP/1.1\r\nConnection: close\r\n", asked.method, asked.target);
    for (name, value) in &asked.headers {
        if !name.eq_ignore_ascii_case("connection") {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).ok()?;
    stream.write_all(&asked.bytes).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let kept = ["content-type", "location", "date", "retry-after"];
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| kept.contains(&name.to_lowercase().as_str()))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(Answer::Passed(status, headers.collect(), body.to_owned()))
}
