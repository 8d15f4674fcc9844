use wasmp_guest::task;

#[task(name = "")]
fn empty() {}

#[task(name = "two words")]
fn two_words() {}

#[task(name = "2nd")]
fn digit_first() {}

#[task(name = "größe")]
fn not_ascii() {}

#[task]
fn größe() {}

#[task(name = 7)]
fn number() {}

#[task(name)]
fn nothing() {}

#[task(name = "one", name = "two")]
fn twice() {}

#[task(nome = "three")]
fn unknown() {}

#[task("four")]
fn bare() {}

fn main() {}
