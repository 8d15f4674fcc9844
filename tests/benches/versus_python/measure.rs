//! From a row to its figures: samples in turns, medians, ratios and a verdict.

use super::rows::{Bar, Peer, Row, Subject};
use super::{Failure, Sampler, Stage};

/// What a row has come to.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) row: &'static Row,
    pub(crate) ours: Samples,
    /// The best first.
    pub(crate) peers: Vec<PeerSamples>,
    /// Ours ÷ that of the best peer, turn by turn.
    pub(crate) ratios: Option<Samples>,
    pub(crate) verdict: Verdict,
}

/// One side of a row other than ours.
#[derive(Debug)]
pub(crate) struct PeerSamples {
    pub(crate) name: &'static str,
    pub(crate) samples: Samples,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    Noisy,
    NoPeer,
}

impl Verdict {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Noisy => "noisy",
            Self::NoPeer => "no peer",
        }
    }
}

/// At least one figure, in the order in which they were taken.
#[derive(Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        f64::midpoint(below, above)
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    fn ratios(&self, peer: &Self) -> Self {
        Self(self.0.iter().zip(&peer.0).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn verdict(&self, bar: &Bar) -> Verdict {
        match self.0.iter().filter(|sample| bar.is_cleared_by(**sample)).count() {
            0 => Verdict::Missed,
            cleared if cleared == self.0.len() => Verdict::Met,
            _ => Verdict::Noisy,
        }
    }
}

/// Runs a row.
pub(crate) fn measure(row: &'static Row, stage: &Stage) -> Result<Measured, Failure> {
    let mut sides = vec![(row.ours)(stage)?];
    let mut names = Vec::new();
    for peer in row.peers {
        if let Some(sampler) = prepare(row, peer, stage)? {
            sides.push(sampler);
            names.push(peer.name());
        }
    }
    let mut sides = take_turns(sides, stage.samples())?.into_iter();
    let ours = sides.next().ok_or("a row has no samples of ours")?;
    let mut peers: Vec<_> = names
        .into_iter()
        .zip(sides)
        .map(|(name, samples)| PeerSamples { name, samples })
        .collect();
    peers.sort_by(|one, other| one.samples.median().total_cmp(&other.samples.median()));
    if row.unit.more_is_better() {
        peers.reverse();
    }
    let ratios = peers.first().map(|best| ours.ratios(&best.samples));
    let verdict = match (row.bar.subject, &ratios) {
        (Subject::Figure, _) => ours.verdict(&row.bar),
        (Subject::Ratio, Some(ratios)) => ratios.verdict(&row.bar),
        (Subject::Ratio, None) => Verdict::NoPeer,
    };
    Ok(Measured {
        row,
        ours,
        peers,
        ratios,
        verdict,
    })
}

fn prepare(row: &Row, peer: &Peer, stage: &Stage) -> Result<Option<Sampler>, Failure> {
    match peer {
        Peer::Native(sampler) | Peer::Unwalled(sampler) => sampler(stage).map(Some),
        Peer::Python { library, items } => {
            let python = stage.python.as_ref();
            python
                .map(|python| python.sampler(row.name, library.argument(), stage.items(*items)))
                .transpose()
        }
    }
}

/// So many samples of each side, one side after the other; one more of each, the first, is not kept.
fn take_turns(mut sides: Vec<Sampler>, samples: usize) -> Result<Vec<Samples>, Failure> {
    let mut taken: Vec<_> = sides.iter().map(|_| Samples(Vec::with_capacity(samples))).collect();
    for turn in 0..=samples {
        for (sampler, taken) in sides.iter_mut().zip(&mut taken) {
            let sample = sampler()?;
            if turn > 0 {
                taken.0.push(sample);
            }
        }
    }
    Ok(taken)
}
