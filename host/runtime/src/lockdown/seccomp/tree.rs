//! The program of a filter: finds what to do with a call by its number, in few steps whatever the number is.
//!
//! When a filter is installed the kernel translates it, which takes longer the more instructions it has, and runs it once for
//! each call that there is, to remember which are always allowed. So calls are looked for by halves, and where few are left
//! one after the other, which takes one instruction each. A worker of a new process waits for that.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{BpfProgram, SeccompAction, sock_filter};

/// What the kernel calls the architecture in `seccomp_data`.
#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xc000_00b7;

/// Where `seccomp_data` has the number of the call, and the architecture.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;

/// Where it has the low half of an argument. The high one is behind it.
pub(super) fn argument_at(argument: u8) -> u32 {
    16 + 8 * u32::from(argument)
}

/// As many calls are looked for one after the other.
const GROUP: usize = 8;

/// What is done with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Always this.
    Always(SeccompAction),
    /// What this program says, which looks at its arguments.
    Ask(BpfProgram),
}

impl Verdict {
    /// An argument, without all but these bits, has to be one of those: else it is `otherwise`. Of an argument the low 32 bits
    /// are looked at: all that are looked at are `int`s to the kernel.
    pub(super) fn allowed_if(argument: u8, bits: u32, values: &[u32], otherwise: &SeccompAction) -> Self {
        let mut program = vec![load(argument_at(argument))];
        if bits != u32::MAX {
            program.push(mask(bits));
        }
        let left = (0..values.len()).rev();
        let compare = |(value, left): (&u32, usize)| jump_if(libc::BPF_JEQ, *value, count(left + 1), 0);
        program.extend(values.iter().zip(left).map(compare));
        program.extend([give(otherwise), give(&SeccompAction::Allow)]);
        Self::Ask(program)
    }

    fn program(&self) -> BpfProgram {
        match self {
            Self::Always(action) => vec![give(action)],
            Self::Ask(program) => program.clone(),
        }
    }
}

/// The program for calls with these numbers; what it does with all others, and with those of another architecture, is
/// `otherwise`. The calls of x32 are others: their numbers are above all of x86-64.
pub(super) fn program(calls: &BTreeMap<c_long, Verdict>, otherwise: &SeccompAction) -> BpfProgram {
    let calls: Vec<_> = calls.iter().collect();
    let mut program = vec![
        load(ARCH_AT),
        jump_if(libc::BPF_JEQ, AUDIT_ARCH, 1, 0),
        give(otherwise),
        load(NUMBER_AT),
    ];
    program.append(&mut search(&calls, otherwise));
    program
}

type Call<'c> = (&'c c_long, &'c Verdict);

/// Looks for the number among those of these calls, which are in order.
fn search(calls: &[Call<'_>], otherwise: &SeccompAction) -> BpfProgram {
    if calls.len() <= GROUP {
        return one_after_the_other(calls, otherwise);
    }
    let (low, high) = calls.split_at(calls.len() / 2);
    let mut below = search(low, otherwise);
    // A condition does not reach as far as a plain jump.
    let mut program = vec![jump_if(libc::BPF_JGE, number(high[0]), 0, 1), jump(below.len())];
    program.append(&mut below);
    program.append(&mut search(high, otherwise));
    program
}

/// Compares with each of them. Behind that stands what is done, once for all with whom the same is done.
fn one_after_the_other(calls: &[Call<'_>], otherwise: &SeccompAction) -> BpfProgram {
    let mut done = vec![give(otherwise)];
    let mut places: Vec<(&Verdict, usize)> = Vec::new();
    let mut program = BpfProgram::new();
    for (call, left) in calls.iter().zip((0..calls.len()).rev()) {
        let known = places.iter().find(|(verdict, _)| *verdict == call.1);
        let place = known.map_or(done.len(), |(_, place)| *place);
        if known.is_none() {
            places.push((call.1, place));
            done.append(&mut call.1.program());
        }
        program.push(jump_if(libc::BPF_JEQ, number(*call), count(left + place), 0));
    }
    program.append(&mut done);
    program
}

fn number((call, _): Call<'_>) -> u32 {
    u32::try_from(*call).expect("the number of a call")
}

/// How many instructions a condition passes over.
fn count(instructions: usize) -> u8 {
    u8::try_from(instructions).expect("a few calls do not take more")
}

fn instruction(code: u32, if_so: u8, if_not: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: if_so,
        jf: if_not,
        k,
    }
}

/// Looks at four bytes of what is known of the call.
pub(super) fn load(at: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at)
}

/// Leaves these bits of what was looked at.
fn mask(bits: u32) -> sock_filter {
    instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits)
}

/// Passes over so many instructions, depending on how what was looked at compares.
pub(super) fn jump_if(comparison: u32, value: u32, if_so: u8, if_not: u8) -> sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, if_so, if_not, value)
}

fn jump(over: usize) -> sock_filter {
    let over = u32::try_from(over).expect("no program is that long");
    instruction(libc::BPF_JMP | libc::BPF_JA, 0, 0, over)
}

/// The end.
pub(super) fn give(action: &SeccompAction) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::from(action.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KILL: SeccompAction = SeccompAction::KillProcess;

    /// What a program without questions does with a call, and in how many steps.
    fn run(program: &[sock_filter], arch: u32, number: u32) -> (u32, usize) {
        let (mut at, mut looked_at, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            at += 1;
            steps += 1;
            match u32::from(code) & 0xf7 {
                code if code == libc::BPF_LD | libc::BPF_W | libc::BPF_ABS => {
                    looked_at = [number, arch][(k / 4) as usize];
                }
                code if code == libc::BPF_JMP | libc::BPF_JEQ => {
                    at += usize::from(if looked_at == k { jt } else { jf });
                }
                code if code == libc::BPF_JMP | libc::BPF_JGE => {
                    at += usize::from(if looked_at >= k { jt } else { jf });
                }
                code if code == libc::BPF_JMP | libc::BPF_JA => at += k as usize,
                _ => return (k, steps),
            }
        }
    }

    fn allowed(numbers: impl IntoIterator<Item = c_long>) -> BTreeMap<c_long, Verdict> {
        let allow = |number| (number, Verdict::Always(SeccompAction::Allow));
        numbers.into_iter().map(allow).collect()
    }

    fn check(calls: &BTreeMap<c_long, Verdict>) -> usize {
        let program = program(calls, &KILL);
        let mut most = 0;
        for number in (0..1000).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            let expected = match calls.get(&c_long::from(number)) {
                Some(Verdict::Always(action)) => action.clone(),
                _ => KILL,
            };
            let (answer, steps) = run(&program, AUDIT_ARCH, number);
            assert_eq!(answer, u32::from(expected), "call {number}");
            most = most.max(steps);
        }
        let (elsewhere, _) = run(&program, AUDIT_ARCH ^ 1, 0);
        assert_eq!(elsewhere, u32::from(KILL));
        most
    }

    #[test]
    fn each_call_gets_its_verdict_and_others_the_last() {
        check(&BTreeMap::new());
        check(&allowed([0]));
        check(&allowed([0, 1, 2, 5, 7, 8, 999]));
        let mut mixed = allowed([3, 4, 10]);
        let absent = Verdict::Always(SeccompAction::Errno(38));
        mixed.extend([5, 11, 12, 20].map(|number| (number, absent.clone())));
        check(&mixed);
    }

    #[test]
    fn many_calls_take_few_steps() {
        let most = check(&allowed((0..1000).step_by(2)));
        assert!(most < 40, "{most}");
    }
}
