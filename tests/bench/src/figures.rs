//! Samples, medians, ratios, and the table they end in.

use serde_json::{Value, json};

use crate::Result;

/// Ours; what stands beside them is a rival.
const OURS: [&str; 2] = ["maas-mirror", "maas-deployer"];

/// The samples of one figure of one program, a sample a round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) program: String,
    pub(crate) unit: &'static str,
    pub(crate) samples: Vec<f64>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    fn median(&self) -> f64 {
        median(&self.sorted())
    }
}

/// The middle of sorted samples.
fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(at(middle - 1), at(middle))
    } else {
        at(middle)
    }
}

/// Ratios of two programs, round by round: what they share of a round (a busy
/// neighbour) cancels.
fn ratio(ours: &Row, theirs: &Row) -> f64 {
    let mut ratios: Vec<f64> =
        ours.samples.iter().zip(&theirs.samples).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    median(&ratios)
}

impl Report {
    pub(crate) fn add(&mut self, what: &str, program: &str, unit: &'static str, samples: Vec<f64>) {
        let (what, program) = (what.to_owned(), program.to_owned());
        self.rows.push(Row { what, program, unit, samples });
    }

    fn ours<'a>(&'a self, row: &Row) -> Option<&'a Row> {
        let is_ours = |row: &Row| OURS.contains(&row.program.as_str());
        let same = |other: &&Row| other.what == row.what && is_ours(other);
        self.rows.iter().find(same).filter(|_| !is_ours(row))
    }

    #[allow(clippy::print_stdout, reason = "the figures are this program's output")]
    pub(crate) fn print(&self) {
        println!(
            "{:44} {:16} {:>10} {:>10} {:>10} {:8} {:>6}  ours / theirs",
            "what", "program", "median", "min", "max", "unit", "rounds"
        );
        for row in &self.rows {
            let sorted = row.sorted();
            let (first, last) = (sorted.first(), sorted.last());
            let ratio = self.ours(row).map(|ours| format!("{:.2}", ratio(ours, row)));
            println!(
                "{:44} {:16} {:>10.3} {:>10.3} {:>10.3} {:8} {:>6}  {}",
                row.what,
                row.program,
                row.median(),
                first.copied().unwrap_or(f64::NAN),
                last.copied().unwrap_or(f64::NAN),
                row.unit,
                row.samples.len(),
                ratio.unwrap_or_default(),
            );
        }
    }

    pub(crate) fn to_json(&self) -> Result<String> {
        let rows: Vec<Value> = self.rows.iter().map(|row| self.row_json(row)).collect();
        Ok(serde_json::to_string_pretty(&json!({ "schema": "bench/1", "figures": rows }))?)
    }

    fn row_json(&self, row: &Row) -> Value {
        json!({
            "what": row.what,
            "program": row.program,
            "unit": row.unit,
            "median": row.median(),
            "samples": row.samples,
            "ours_to_theirs": self.ours(row).map(|ours| ratio(ours, row)),
        })
    }
}
