//! The figures as a table and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::machine::Machine;
use super::measure::{Measured, PeerSamples, Samples};
use super::rows::Unit;

/// How verdicts are found, for those who read only the report.
const RULE: &str = "median (minimum–maximum); ratio = wasmp ÷ best peer, turn by turn; \
    met: every turn clears the bar, missed: none does, noisy: some do";

/// The table alone.
pub(crate) fn table(measured: &[Measured]) -> String {
    let mut table = String::from(
        "| row | work | wasmp | best peer | other peer | ratio | bar | verdict |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for measured in measured {
        let Measured {
            row,
            ours,
            peers,
            ratios,
            verdict,
        } = measured;
        let mut peers = peers
            .iter()
            .map(|PeerSamples { name, samples }| format!("{} {name}", spread(row.unit, samples)));
        let ratio = ratios.as_ref().map(|ratios| {
            format!(
                "{} ({}–{})",
                short(ratios.median()),
                short(ratios.min()),
                short(ratios.max())
            )
        });
        let cells = [
            row.name.to_owned(),
            row.work.to_owned(),
            spread(row.unit, ours),
            peers.next().unwrap_or_else(|| "–".into()),
            peers.next().unwrap_or_else(|| "–".into()),
            ratio.unwrap_or_else(|| "–".into()),
            row.bar.text.to_owned(),
            verdict.name().to_owned(),
        ];
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {} |", cells.join(" | "));
    }
    table
}

/// The table with what one must know to read it.
pub(crate) fn markdown(machine: &Machine, measured: &[Measured]) -> String {
    format!("{machine}.\n\n{}\n{RULE}.\n", table(measured))
}

/// Everything, for programs.
pub(crate) fn json(machine: &Machine, measured: &[Measured]) -> String {
    let rows: Vec<_> = measured.iter().map(row).collect();
    format!("{:#}\n", json!({ "machine": machine, "rule": RULE, "rows": rows }))
}

fn row(measured: &Measured) -> Value {
    let Measured {
        row,
        ours,
        peers,
        ratios,
        verdict,
    } = measured;
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let in_unit = |samples: &Samples| samples_json(samples, |sample| row.unit.of(sample));
    let best = peers.first();
    put("row", row.name.into());
    put("work", row.work.into());
    put("unit", row.unit.name().into());
    put("ours", row.unit.of(ours.median()).into());
    put("peer", best.map(|peer| row.unit.of(peer.samples.median())).into());
    put("peer_name", best.map(|peer| peer.name).into());
    put("ratio", ratios.as_ref().map(Samples::median).into());
    put("bar", row.bar.text.into());
    put("verdict", verdict.name().into());
    put("ours_spread", in_unit(ours));
    put("peer_spread", best.map(|peer| in_unit(&peer.samples)).into());
    put(
        "ratio_spread",
        ratios.as_ref().map(|ratios| samples_json(ratios, |ratio| ratio)).into(),
    );
    if let Some(other) = peers.get(1) {
        put("other_peer", row.unit.of(other.samples.median()).into());
        put("other_peer_name", other.name.into());
        put("other_peer_spread", in_unit(&other.samples));
    }
    Value::Object(fields)
}

fn samples_json(samples: &Samples, in_unit: impl Fn(f64) -> f64) -> Value {
    json!([in_unit(samples.min()), in_unit(samples.max())])
}

fn spread(unit: Unit, samples: &Samples) -> String {
    let [median, min, max] = [samples.median(), samples.min(), samples.max()].map(|sample| unit.of(sample));
    let (scale, name) = match unit {
        Unit::PerSecond if median >= 1e6 => (1e6, "M/s"),
        Unit::PerSecond => (1e3, "k/s"),
        other => (1.0, other.name()),
    };
    let [median, min, max] = [median, min, max].map(|figure| short(figure / scale));
    format!("{median} {name} ({min}–{max})")
}

/// Three digits, as far as they are needed.
fn short(figure: f64) -> String {
    let decimals = match figure.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{figure:.decimals$}")
}
